import type { Recorded } from '#shared/contracts/events.ts';
import { isKeyEvent, isWebhookEvent } from '#shared/contracts/events.ts';
import type { Key } from '#shared/domain/key.ts';
import * as keys from '#shared/domain/key.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import * as webhooks from '#shared/domain/webhook.ts';
import type { Database } from './database.ts';
import { openFolded } from './folded.ts';
import type { Filters } from './select.ts';
import { where } from './select.ts';

/** Client keys and webhooks, in the order in which they began: an id that an Idempotency-Key made does not sort by time. */
const listed = ['keys', 'webhooks'] as const;
type Listed = (typeof listed)[number];

export const listedNames: readonly string[] = listed;
export const listedTables = listed
  .map(
    (name) => `
  CREATE TABLE ${name} (id TEXT PRIMARY KEY, state TEXT NOT NULL, began INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX ${name}_by_began ON ${name} (began);
`,
  )
  .join('');

/** Folds events into those tables. */
export function openListed(db: Database) {
  const keyStates = openTable<Key>(db, 'keys', ({ minted }) => minted);
  const webhookStates = openTable<Webhook>(db, 'webhooks', ({ began }) => began);
  return {
    folded: [keyStates, webhookStates],
    apply(id: string, event: Recorded): void {
      if (isKeyEvent(event)) keyStates.evolve(id, (key) => keys.evolve(key, event));
      if (isWebhookEvent(event)) webhookStates.evolve(id, (webhook) => webhooks.evolve(webhook, event));
    },
  };
}

/** `beganOf` says which event began one. */
const openTable = <S extends { id: string }>(db: Database, table: Listed, beganOf: (state: S) => number) =>
  openFolded<S>(
    {
      select: db.prepare(`SELECT state FROM ${table} WHERE id = ?`),
      insert: db.prepare(`INSERT OR REPLACE INTO ${table} VALUES (@id, @state, @began)`),
      update: db.prepare(`UPDATE ${table} SET state = @state WHERE id = @id`),
    },
    (state) => ({ began: String(beganOf(state)) }),
  );

type ListedRow = { began: number; state: string };

/** Those that began last first, one more than `limit`. */
export function selectListed(db: Database, table: Listed, filters: Filters, limit: number): ListedRow[] {
  const { sql, values } = where(filters);
  return db
    .prepare<unknown[], ListedRow>(`SELECT began, state FROM ${table} WHERE ${sql} ORDER BY began DESC LIMIT ?`)
    .all(...values, limit + 1);
}
