import type { Draft, Recorded } from '#shared/contracts/events.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { agentSpec } from './agents.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** Drafts in their places in a log, from sequence 1 on, a second apart. */
export function recorded(subject: string, drafts: readonly Draft[], from = 1): Recorded[] {
  return drafts.map((draft, index) => {
    const time = new Date(Date.UTC(2026, 0, 1) + (from + index) * 1000).toISOString();
    return { ...newEvent(draft, subject, writer), time, seq: from + index } as Recorded;
  });
}

const spec = agentSpec();
const [work] = worksOf(spec);
if (!work) throw new Error('the agent has no work');

export const queued: Draft = {
  type: 'toka.run.queued.v1',
  data: {
    agentId: spec.name,
    trigger: 'objective',
    since: 'evt_1',
    definition: definitionOf(spec),
    work,
    parent: null,
  },
};
export const dispatched: Draft = { type: 'toka.run.dispatched.v1', data: { reason: 'test' } };
export const started: Draft = { type: 'toka.run.started.v1', data: { runner: 'r1' } };
export const facts = {
  provider: 'demo',
  model: 'demo-1',
  usage: { inputTokens: 10, outputTokens: 5, cachedInputTokens: 0, cacheWriteTokens: 0 },
  costUsd: 0.5 as number | null,
  latencyMs: 1,
  cache: 'miss' as const,
};

/** The model said `text`, and called these tools. */
export const step = (text: string, ...tools: string[]): Draft => {
  const toolCalls = tools.map((tool, index) => ({ callId: `${text}-${index + 1}`, tool, args: {} }));
  return {
    type: 'toka.run.step-completed.v1',
    data: {
      ...facts,
      calls: toolCalls.map(({ callId, tool }) => ({ callId, tool })),
      answer: { text, toolCalls, stopReason: tools.length > 0 ? 'tool-calls' : 'end' },
    },
  };
};
export const returned = (callId: string): Draft => ({
  type: 'toka.run.tool-returned.v1',
  data: { callId, tool: 'read_file', isError: false, text: 'hello', durationMs: 1 },
});
export const submitted = (callId: string): Draft => ({
  type: 'toka.run.deliverable-submitted.v1',
  data: {
    callId,
    name: 'inventory.md',
    mediaType: 'text/markdown',
    summary: 'done',
    artifact: { sha256: 'a'.repeat(64), bytes: 3 },
  },
});
export const judged = (pass: boolean, ...reasons: string[]): Draft => ({
  type: 'toka.run.validated.v1',
  data: { pass, reasons, facts },
});
