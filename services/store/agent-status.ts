import type { AgentStatus } from '#shared/contracts/store.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import { hasEnded } from '#shared/domain/run.ts';
import { worksOf } from '#shared/domain/works.ts';
import type { Database } from './database.ts';
import { where } from './select.ts';
import { isWithin, listOf, within } from './tenancy.ts';

/** Every agent at a glance, or those of these workstreams. */
export function listStatus(db: Database, workstreams: readonly string[] | undefined): AgentStatus[] {
  const newest = db.prepare<[string], { state: string; id: string }>(
    'SELECT MAX(id) AS id, state FROM runs WHERE agent = ? GROUP BY work',
  );
  const used = db.prepare<[string], { input: number; output: number; cost: number; unpriced: number }>(
    `SELECT TOTAL(input) AS input, TOTAL(output) AS output, TOTAL(cost) AS cost, TOTAL(unpriced) AS unpriced
     FROM usage WHERE agent = ?`,
  );
  const { sql, values } = where({ 'status <>': 'removed', [within.state]: listOf(workstreams) });
  const agents = db
    .prepare<unknown[], { state: string }>(`SELECT state FROM agents WHERE ${sql} ORDER BY id`)
    .all(...values);
  return agents.map(({ state }) => {
    const agent: Agent = JSON.parse(state);
    // An agent may have come from another workstream: its runs there stay there.
    const all = newest.all(agent.id).map((row): Run => JSON.parse(row.state));
    const runs = all.filter(({ definition }) => isWithin(workstreams, definition.workstream));
    const { input = 0, output = 0, cost = 0, unpriced = 0 } = used.get(agent.id) ?? {};
    const usage = { inputTokens: input, outputTokens: output, costUsd: unpriced > 0 ? null : cost };
    return { ...statusOf(agent, runs), usage };
  });
}

/** What an agent is doing, from the newest run of each of its works. */
export function statusOf(agent: Agent, newest: readonly Run[]): Omit<AgentStatus, 'usage'> {
  const works = new Set(worksOf(agent.spec).map(({ id }) => id));
  const own = newest.filter(({ work }) => works.has(work.id));
  const count = (status: Run['status']) => own.filter((run) => run.status === status).length;
  const current = newest.find(({ status }) => status === 'running' || status === 'dispatched');
  const lastFailed = newest
    .filter(({ status }) => status === 'failed')
    .toSorted((a, b) => a.version - b.version)
    .at(-1);
  const facts = { total: works.size, completed: count('completed'), failed: count('failed') };
  const stateOf = (): AgentStatus['state'] => {
    if (current) return 'working';
    if (agent.status === 'paused' || agent.status === 'quarantined') return agent.status;
    if (newest.some((run) => !hasEnded(run))) return 'waiting';
    if (facts.failed > 0) return 'failed';
    return facts.completed === facts.total ? 'done' : 'idle';
  };
  return {
    id: agent.id,
    status: agent.status,
    state: stateOf(),
    currentRunId: current?.id ?? null,
    works: facts,
    lastError: lastFailed?.error ?? null,
  };
}
