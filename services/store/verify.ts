import { setImmediate as turn } from 'node:timers/promises';
import { chainStart, link } from './chain.ts';
import type { Database } from './database.ts';

const batch = 500;
type Row = { seq: number; bytes: Buffer; hash: Buffer };

/** Computes the hash chain anew over every event, a slice at a time so that others are answered in between. */
export async function verifyChain(db: Database) {
  const select = db.prepare<[number], Row>(
    `SELECT seq, bytes, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ${batch}`,
  );
  let head: Uint8Array = chainStart;
  let checked = 0;
  const answer = (brokenAt: number | null) => ({
    intact: brokenAt === null,
    checked,
    brokenAt,
    chainHead: Buffer.from(head).toString('hex'),
  });
  for (;;) {
    const rows = select.all(checked);
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
