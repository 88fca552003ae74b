import type { Bus } from '#shared/bus/bus.ts';
import type { RunDraft } from '#shared/contracts/events.ts';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import { hasBulk, keptSteps } from '#shared/domain/context.ts';
import { startOfLast } from '#shared/domain/conversation.ts';
import { clip } from '#shared/text.ts';
import type { Journal } from './journal.ts';
import { askModel, common } from './model.ts';
import { summaryPrompt } from './prompt.ts';

const resultCharsMax = 2_000;
const transcriptCharsMax = 200_000;
const summaryCharsMax = 20_000;

/** Makes room in a conversation that fills the model's window: the bulk of old results goes first, then all but the last steps is summed up. */
export async function compact(bus: Bus, journal: Journal, signal: AbortSignal): Promise<RunDraft> {
  const { run, messages } = journal;
  if (hasBulk(messages))
    return { type: 'toka.run.context-compacted.v1', data: { keptSteps, summary: null, facts: null } };
  const old = messages.slice(0, startOfLast(messages, keptSteps));
  const { answer, facts } = await askModel(
    bus,
    journal,
    { ...common(run), system: summaryPrompt, messages: [{ role: 'user', text: transcript(old) }] },
    signal,
  );
  const summary = clip(answer.text.trim() || 'Nothing could be summed up.', summaryCharsMax);
  return { type: 'toka.run.context-compacted.v1', data: { keptSteps, summary, facts } };
}

function transcript(messages: readonly ChatMessage[]): string {
  const lines = messages.map((message) => {
    if (message.role !== 'assistant') return `[${message.role}] ${clip(message.text, resultCharsMax)}`;
    const calls = message.toolCalls.map(({ tool, args }) => `\n  ${tool} ${clip(JSON.stringify(args), 500)}`);
    return `[agent] ${message.text}${calls.join('')}`;
  });
  return clip(lines.join('\n'), transcriptCharsMax);
}
