import type { Recorded } from '#shared/contracts/events.ts';
import { isAgentEvent, isRunEvent } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import * as agents from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import * as runs from '#shared/domain/run.ts';
import { worksOf } from '#shared/domain/works.ts';
import { occasionOf } from '#shared/occasion.ts';

/** Agents and runs as the log has them. */
export type World = { agents: Map<string, Agent>; runs: Map<string, Run> };
export const emptyWorld = (): World => ({ agents: new Map(), runs: new Map() });

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

/** `blocked`: something that it depends on did not end well, or its agent is paused; `later`: its schedule has not come yet. */
export type Result = 'completed' | 'failed' | 'cancelled' | 'blocked' | 'later' | 'open';
export type Row = { agent: string; work: string; result: Result; run: Run | undefined };

/** How far the works of these agents are, each on its present occasion. */
export function progress(world: World, names: readonly string[], nowMs: number): Row[] {
  const results = new Map<string, Row>();
  const rowOf = (agent: Agent, work: string): Row => {
    const key = `${agent.id}/${work}`;
    const known = results.get(key);
    if (known) return known;
    const run = world.runs.get(occasionOf(agent, work, nowMs)?.runId ?? '');
    const row: Row = { agent: agent.id, work, result: 'open', run };
    results.set(key, row); // first, so that a circle of dependencies ends here
    row.result = resultOf(agent, work, run, rowOf);
    return row;
  };
  const resultOf = (agent: Agent, workId: string, run: Run | undefined, ask: typeof rowOf): Result => {
    if (run?.status === 'completed' || run?.status === 'failed' || run?.status === 'cancelled') return run.status;
    if (!occasionOf(agent, workId, nowMs)) return 'later';
    if (run) return 'open';
    if (agent.status !== 'active') return 'blocked';
    const work = worksOf(agent.spec).find(({ id }) => id === workId);
    const others = (work?.dependsOnAgents ?? []).flatMap((name) => {
      const other = world.agents.get(name);
      return other ? worksOf(other.spec).map(({ id }) => ask(other, id).result) : ['blocked' as const];
    });
    const own = (work?.dependsOn ?? []).map((id) => ask(agent, id).result);
    const bad: readonly Result[] = ['failed', 'cancelled', 'blocked'];
    return [...own, ...others].some((result) => bad.includes(result)) ? 'blocked' : 'open';
  };
  return names.flatMap((name) => {
    const agent = world.agents.get(name);
    if (!agent || agent.status === 'removed') return [];
    return worksOf(agent.spec).map(({ id }) => rowOf(agent, id));
  });
}

export const isIdle = (rows: readonly Row[]): boolean => rows.every(({ result }) => result !== 'open');
export const endedWell = (rows: readonly Row[]): boolean =>
  rows.every(({ result }) => result === 'completed' || result === 'later');
