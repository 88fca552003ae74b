import type { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import type { Request } from '#shared/contracts/contract.ts';
import * as store from '#shared/contracts/store.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import { Failure } from '#shared/errors.ts';
import { agentView, listStatus, runView } from './answers.ts';
import type { Archive } from './archive.ts';
import type { Database } from './database.ts';
import type { Follower } from './follow.ts';
import { pageOf } from './page.ts';
import { verifyChain } from './verify.ts';

type StateRow = { id: string; state: string };

/** Answers every question of shared/contracts/store.ts, once the archive holds what the asker has written. */
export function answerQueries(bus: Bus, archive: Archive, follower: Follower): void {
  const { db } = archive;
  const answer = <I extends z.ZodType<{ minSeq?: number | undefined }>, O extends z.ZodType>(
    contract: Request<I, O>,
    handle: (question: z.output<I>) => z.output<O> | Promise<z.output<O>>,
  ) =>
    bus.answer(contract, async (question) => {
      if (question.minSeq !== undefined) await follower.reach(question.minSeq);
      return handle(question);
    });

  answer(store.listAgents, ({ limit, cursor, workstream, domain, priority }) =>
    page(
      select(db, 'agents', { workstream, domain, priority }, "status <> 'removed' AND id > ?", [cursor ?? ''], limit),
      limit,
      (agent: Agent) => agentView(agent),
    ),
  );
  answer(store.getAgent, ({ id }) => {
    const agent = one<Agent>(db, 'agents', id);
    if (!agent || agent.status === 'removed') throw new Failure('not-found', `there is no agent "${id}"`);
    return agentView(agent);
  });
  answer(store.listAgentStatus, () => listStatus(db));
  answer(store.listRuns, ({ limit, cursor, agentId, status, workstream }) =>
    page(
      select(db, 'runs', { agent: agentId, status, workstream }, 'id < ?', [cursor ?? '~'], limit, 'DESC'),
      limit,
      (run: Run) => runView(run),
    ),
  );
  answer(store.getRun, ({ id }) => {
    const run = one<Run>(db, 'runs', id);
    if (!run) throw new Failure('not-found', `there is no run "${id}"`);
    return runView(run);
  });
  answer(store.listSteps, ({ runId, limit, cursor }) => {
    const rows = db
      .prepare<[string, number, number], { step: number; view: string }>(
        'SELECT step, view FROM steps WHERE run = ? AND step > ? ORDER BY step LIMIT ?',
      )
      .all(runId, numberOf(cursor), limit + 1);
    return pageOf(
      rows,
      limit,
      ({ view }) => view,
      ({ step }) => step,
      (_, view) => view as store.StepView,
    );
  });
  answer(store.listEvents, ({ limit, cursor, subject, type }) => {
    const rows = listEvents(db, { subject, type }, numberOf(cursor), limit);
    return pageOf(
      rows,
      limit,
      ({ bytes }) => bytes.toString('utf8'),
      ({ seq }) => seq,
      ({ seq }, event) => ({ ...(event as object), seq }) as store.EventView,
    );
  });
  answer(store.listUsage, ({ by }) => usageBy(db, by));
  answer(store.getArchive, () => ({
    seq: archive.seq,
    events: archive.seq,
    chainHead: Buffer.from(archive.head).toString('hex'),
    databaseBytes: Number(db.pragma('page_count', { simple: true })) * Number(db.pragma('page_size', { simple: true })),
  }));
  // One at a time, shared by all who ask meanwhile: it reads every event.
  let verifying: ReturnType<typeof verifyChain> | undefined;
  answer(store.verifyArchive, () => {
    verifying ??= verifyChain(db).finally(() => {
      verifying = undefined;
    });
    return verifying;
  });
}

/** Rows of a view in the order of their ids, one more than `limit`. `filters`: undefined ones do not count. */
function select(
  db: Database,
  table: 'agents' | 'runs',
  filters: Record<string, string | undefined>,
  condition: string,
  values: string[],
  limit: number,
  order = 'ASC',
): StateRow[] {
  const given = Object.entries(filters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const where = [condition, ...given.map(([column]) => `${column} = ?`)].join(' AND ');
  return db
    .prepare<unknown[], StateRow>(`SELECT id, state FROM ${table} WHERE ${where} ORDER BY id ${order} LIMIT ?`)
    .all(...values, ...given.map(([, value]) => value), limit + 1);
}

const page = <S, V>(rows: StateRow[], limit: number, viewOf: (state: S) => V) =>
  pageOf(
    rows,
    limit,
    ({ state }) => state,
    ({ id }) => id,
    (_, state) => viewOf(state as S),
  );

function one<S>(db: Database, table: 'agents' | 'runs', id: string): S | undefined {
  const row = db.prepare<[string], StateRow>(`SELECT state FROM ${table} WHERE id = ?`).get(id);
  return row && JSON.parse(row.state);
}

type EventRow = { seq: number; bytes: Buffer };

function listEvents(
  db: Database,
  filters: Record<string, string | undefined>,
  after: number,
  limit: number,
): EventRow[] {
  const given = Object.entries(filters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  // Bytes under no subject are no event: they are in the archive, not in answers.
  const where = ["subject <> ''", 'seq > ?', ...given.map(([column]) => `${column} = ?`)].join(' AND ');
  return db
    .prepare<unknown[], EventRow>(`SELECT seq, bytes FROM events WHERE ${where} ORDER BY seq LIMIT ?`)
    .all(after, ...given.map(([, value]) => value), limit + 1);
}

function numberOf(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (!/^\d{1,15}$/.test(cursor)) throw new Failure('invalid', 'cursor: is not one that an earlier page gave');
  return Number(cursor);
}

function usageBy(db: Database, by: 'agent' | 'run' | 'model' | 'day'): z.output<typeof store.UsageRow>[] {
  return db
    .prepare<[], z.output<typeof store.UsageRow>>(
      `SELECT ${by} AS key, SUM(calls) AS calls, SUM(input) AS inputTokens, SUM(output) AS outputTokens,
       SUM(cost) AS costUsd, SUM(unpriced) AS callsWithoutPrice FROM usage GROUP BY ${by} ORDER BY ${by} DESC LIMIT 5000`,
    )
    .all();
}
