import { setImmediate as turn } from 'node:timers/promises';
import { messageOf } from '#shared/errors.ts';
import { chainStart, link } from './chain.ts';
import type { Database } from './database.ts';
import { isDamage } from './database.ts';

const batch = 500;
type Row = { seq: number; bytes: Buffer; hash: Buffer };

/** Computes the hash chain anew over every event, a slice at a time so that others are answered in between. `damage`: it cannot be read. */
export async function verifyChain(db: Database) {
  const select = db.prepare<[number], Row>(
    `SELECT seq, bytes, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ${batch}`,
  );
  let head: Uint8Array = chainStart;
  let checked = 0;
  const answer = (brokenAt: number | null, damage: string | null = null) => ({
    intact: brokenAt === null,
    checked,
    brokenAt,
    chainHead: Buffer.from(head).toString('hex'),
    damage,
  });
  for (;;) {
    let rows: Row[];
    try {
      rows = select.all(checked);
    } catch (error) {
      if (!isDamage(error)) throw error;
      return answer(checked + 1, messageOf(error));
    }
    for (const { seq, bytes, hash } of rows) {
      const next = link(head, seq, bytes);
      if (seq !== checked + 1 || !next.equals(hash)) return answer(checked + 1);
      head = next;
      checked = seq;
    }
    if (rows.length < batch) return answer(null);
    await turn();
  }
}
