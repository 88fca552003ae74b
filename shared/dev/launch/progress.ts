import type { Recorded } from '#shared/contracts/events.ts';
import { isAgentEvent, isRunEvent } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import * as agents from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import * as runs from '#shared/domain/run.ts';
import { worksOf } from '#shared/domain/works.ts';
import { occasionOf } from '#shared/occasion.ts';

/** Agents and runs as the log has them up to `seq`. */
export type World = { agents: Map<string, Agent>; runs: Map<string, Run>; seq: number };
export const emptyWorld = (): World => ({ agents: new Map(), runs: new Map(), seq: 0 });

/** Folds an event into the world; answers the run that it belongs to. */
export function fold(world: World, event: Recorded): Run | undefined {
  const id = event.subject.slice(event.subject.indexOf('/') + 1);
  if (isAgentEvent(event)) {
    const agent = agents.evolve(world.agents.get(id), event);
    if (agent) world.agents.set(id, agent);
  }
  if (!isRunEvent(event)) return undefined;
  const run = runs.evolve(world.runs.get(id), event);
  if (run) world.runs.set(id, run);
  return run;
}

/** `paused`: its agent is, so nothing starts; `later`: its schedule has not come yet. */
type Result = 'completed' | 'failed' | 'cancelled' | 'paused' | 'later' | 'open';
export type Row = { agent: string; work: string; result: Result; run: Run | undefined };

/** How far the works of these agents are, each on its present occasion. What waits for a work that failed is failed by the scheduler. */
export function progress(world: World, names: readonly string[], nowMs: number): Row[] {
  return names.flatMap((name) => {
    const agent = world.agents.get(name);
    if (!agent || agent.status === 'removed') return [];
    return worksOf(agent.spec).map(({ id }) => {
      const occasion = occasionOf(agent, id, nowMs);
      const run = occasion && world.runs.get(occasion.runId);
      return { agent: name, work: id, result: occasion ? resultOf(agent, run) : 'later', run };
    });
  });
}

function resultOf(agent: Agent, run: Run | undefined): Result {
  switch (run?.status) {
    case 'completed':
    case 'failed':
    case 'cancelled':
      return run.status;
    case 'dispatched':
    case 'running':
      return 'open';
    default:
      return agent.status === 'active' ? 'open' : 'paused';
  }
}

export const isIdle = (rows: readonly Row[]): boolean => rows.every(({ result }) => result !== 'open');
export const endedWell = (rows: readonly Row[]): boolean =>
  rows.every(({ result }) => result === 'completed' || result === 'later');
