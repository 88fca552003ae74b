import type { Draft } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentInput } from './agents.ts';
import { facts, started, step } from './events.ts';
import type { Gateway } from './gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** What one workstream has; every text in it has `mark` in it, so that what leaks is seen. */
export type Workstream = {
  agent: string;
  run: string;
  approval: string;
  memory: string;
  key: string;
  event: number;
};

/** Fills a workstream with one of everything that the API shows, and answers what it is called. */
export async function fill(
  { bus, call }: Gateway,
  workstream: string,
  agent: string,
  mark: string,
): Promise<Workstream> {
  await call('POST', '/agents', agentInput({ name: agent, workstream, domain: `${mark} domain`, instructions: mark }));
  const { json: queued } = await call('POST', `/agents/${agent}/runs`, { input: `do what is ${mark}` });
  const run: string = queued.id;
  const approval = newId('apr');
  const question: Draft = {
    type: 'toka.run.approval-requested.v1',
    data: {
      ...{ id: approval, callId: 'c1', kind: 'question', tool: 'ask_human', capability: null },
      ...{ question: `is it ${mark}?`, schema: null, expiresAt: new Date(Date.now() + 3_600_000).toISOString() },
    },
  };
  for (const draft of [started, step(mark, 'ask_human'), question])
    await bus.append(newEvent(draft, `run/${run}`, writer));
  const { json: key } = await call('POST', '/llm/keys', { name: `${mark} key`, workstream });
  const memory = newId('mem');
  const remembered: Draft = { type: 'toka.memory.remembered.v1', data: { id: memory, text: mark, runId: run } };
  await bus.append(newEvent(remembered, `memory/${agent}`, writer));
  const called: Draft = {
    type: 'toka.llm.called.v1',
    data: { ...facts, model: `${mark}-model`, key: 'internal', agentId: agent, runId: run, outcome: 'ok' },
  };
  const event = await bus.append(newEvent(called, 'llm/internal', writer));
  return { agent, run, approval, memory, key: key.id, event };
}
