import type { Answer } from '#shared/contracts/llm.ts';

const text =
  'I have read what there is so far, and what it says of the matter; the next thing that I need is below. '.repeat(2);

/** What the model says in each turn, and what a step of the other side records: the same bytes. */
export const answerOf = (tool: string | null, turn = 0): Answer => ({
  text,
  toolCalls: tool === null ? [] : [{ callId: 'call', tool, args: { query: `matter ${turn}` } }],
  stopReason: tool === null ? 'end' : 'tool-calls',
});
