import type { Key } from '#shared/domain/key.ts';
import type { Database } from './database.ts';
import { openFolded } from './folded.ts';
import type { Filters } from './select.ts';
import { where } from './select.ts';

/** Client keys, in the order in which they were minted: an id that an Idempotency-Key made does not sort by time. */
export const keyTable = `
  CREATE TABLE keys (id TEXT PRIMARY KEY, state TEXT NOT NULL, minted INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX keys_by_minted ON keys (minted);
`;

/** Folds events into that table. */
export const openKeys = (db: Database) =>
  openFolded<Key>(
    {
      select: db.prepare('SELECT state FROM keys WHERE id = ?'),
      insert: db.prepare('INSERT OR REPLACE INTO keys VALUES (@id, @state, @minted)'),
      update: db.prepare('UPDATE keys SET state = @state WHERE id = @id'),
    },
    ({ minted }) => ({ minted: String(minted) }),
  );

type KeyRow = { minted: number; state: string };

/** Keys, those minted last first, one more than `limit`. */
export function selectKeys(db: Database, filters: Filters, limit: number): KeyRow[] {
  const { sql, values } = where(filters);
  return db
    .prepare<unknown[], KeyRow>(`SELECT minted, state FROM keys WHERE ${sql} ORDER BY minted DESC LIMIT ?`)
    .all(...values, limit + 1);
}
