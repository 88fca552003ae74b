import type { z } from 'zod';
import type { listUsage, UsageRow } from '#shared/contracts/store.ts';
import type { Database } from './database.ts';
import { listOf, usageOwner, within } from './tenancy.ts';

/**
 * Conditions by column and comparison, such as `status =`, or whole ones with one `?`; those without a value do not count. The keys are ours,
 * never a caller's.
 */
export type Filters = Readonly<Record<string, string | number | undefined>>;
export type StateRow = { id: string; state: string };
type StepRow = { step: number; view: string };
type EventRow = { seq: number; bytes: Buffer };

export function where(filters: Filters): { sql: string; values: (string | number)[] } {
  const given = Object.entries(filters).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value }]));
  const sql = given.map(({ key }) => (key.includes('?') ? key : `${key} ?`)).join(' AND ') || 'TRUE';
  return { sql, values: given.map(({ value }) => value) };
}

/** Rows of a view in the order of their ids, one more than `limit`: it tells whether there is another page. */
export function select(
  db: Database,
  table: 'agents' | 'runs',
  filters: Filters,
  order: 'ASC' | 'DESC',
  limit: number,
): StateRow[] {
  const { sql, values } = where(filters);
  return db
    .prepare<unknown[], StateRow>(`SELECT id, state FROM ${table} WHERE ${sql} ORDER BY id ${order} LIMIT ?`)
    .all(...values, limit + 1);
}

export function selectState<S>(db: Database, table: 'agents' | 'runs' | 'keys', id: string): S | undefined {
  const row = db.prepare<[string], StateRow>(`SELECT id, state FROM ${table} WHERE id = ?`).get(id);
  return row && JSON.parse(row.state);
}

export const selectSteps = (db: Database, run: string, after: number, limit: number): StepRow[] =>
  db
    .prepare<[string, number, number], StepRow>(
      'SELECT step, view FROM steps WHERE run = ? AND step > ? ORDER BY step LIMIT ?',
    )
    .all(run, after, limit + 1);

/** Events in the order of the log, one more than `limit`. Bytes under no subject are no event: they are archived, not shown. */
export function selectEvents(db: Database, filters: Filters, limit: number): EventRow[] {
  const { sql, values } = where({ ...filters, 'subject <>': '' });
  return db
    .prepare<unknown[], EventRow>(`SELECT seq, bytes FROM events WHERE ${sql} ORDER BY seq LIMIT ?`)
    .all(...values, limit + 1);
}

type UsageQuestion = z.output<(typeof listUsage)['input']>;

export function selectUsage(
  db: Database,
  { by, since, until, workstreams }: UsageQuestion,
): z.output<typeof UsageRow>[] {
  const { sql, values } = where({ 'day >=': since, 'day <=': until, [within.usage]: listOf(workstreams) });
  const key = by === 'workstream' ? `coalesce(${usageOwner}, '')` : by;
  return db
    .prepare<unknown[], z.output<typeof UsageRow>>(
      `SELECT ${key} AS key, SUM(calls) AS calls, SUM(input) AS inputTokens, SUM(output) AS outputTokens,
       SUM(cost) AS costUsd, SUM(unpriced) AS callsWithoutPrice
       FROM usage WHERE ${sql} GROUP BY ${key} ORDER BY ${key} DESC LIMIT 5000`,
    )
    .all(...values);
}
