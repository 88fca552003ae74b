import { matches } from '#shared/bus/matches.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import type { Database } from './database.ts';
import { placeOf } from './reader.ts';

type Question = { from: number; offset: number; until?: number | undefined; subjects?: readonly string[] | undefined };
type Row = { seq: number; bytes: Buffer; place: string | null };
type Page = {
  messages: { seq: number; subject: string; data: string }[];
  next: { from: number; offset: number } | null;
};

const rowsMax = 500;
/** Of the messages' bytes: a page is a third larger, and NATS carries 8 MiB. A larger message comes in several pages. */
const bytesMax = 1024 ** 2;

/** A page of what the log held: see `readLog` in shared/contracts/store.ts. */
export function logPage(db: Database, { from, offset, until, subjects }: Question): Page {
  const condition = conditionOf(subjects);
  const rows = db
    .prepare<unknown[], Row>(
      `SELECT seq, bytes, place FROM events WHERE seq >= ? AND seq <= ? AND ${condition.sql} ORDER BY seq LIMIT ${rowsMax + 1}`,
    )
    .iterate(from, until ?? Number.MAX_SAFE_INTEGER, ...condition.values);
  const messages: Page['messages'] = [];
  let seen = 0;
  let bytes = 0;
  for (const row of rows) {
    if (seen === rowsMax) return { messages, next: { from: row.seq, offset: 0 } };
    seen += 1;
    const subject = row.place ?? placeOf(row.bytes);
    if (subjects && !subjects.some((filter) => matches(filter, subject))) continue;
    const begin = row.seq === from ? offset : 0;
    const rest = row.bytes.subarray(begin);
    bytes += rest.byteLength;
    if (messages.length > 0 && bytes > bytesMax) return { messages, next: { from: row.seq, offset: 0 } };
    messages.push({ seq: row.seq, subject, data: rest.subarray(0, bytesMax).toString('base64') });
    if (rest.byteLength > bytesMax) return { messages, next: { from: row.seq, offset: begin + bytesMax } };
  }
  return { messages, next: null };
}

/** Most of the log is of these: all of a kind are found by a walk through it, and what is rare by the index. */
const dense: readonly string[] = ['run', 'llm'] satisfies Entity[];

/** Narrows down which rows may lie on the subjects; what is left is told by the very subject. */
function conditionOf(subjects: readonly string[] | undefined): { sql: string; values: string[] } {
  const everything = { sql: 'TRUE', values: [] };
  const parts: { sql: string; values: string[] }[] = [];
  for (const filter of subjects ?? []) {
    const [, entity, id] = /^toka\.events\.([a-z]+)\.([^.>]+)$/.exec(filter) ?? [];
    // What people decide about a run is, in the archive, of that run.
    const kind = entity === 'decision' ? 'run' : entity;
    if (!kind || !id || (id === '*' && dense.includes(kind))) return everything;
    if (id === '*') parts.push({ sql: '(subject >= ? AND subject < ?)', values: [`${kind}/`, `${kind}0`] });
    else parts.push({ sql: 'subject = ?', values: [`${kind}/${id}`] });
  }
  if (parts.length === 0) return everything;
  return { sql: `(${parts.map(({ sql }) => sql).join(' OR ')})`, values: parts.flatMap(({ values }) => values) };
}
