import { createHash } from 'node:crypto';
import type { Message, Violation } from './evidence.ts';

/** An event as a store has it. */
export type Row = { seq: number; bytes: Uint8Array; hash: Uint8Array };

/** SQLite holds the stream from its first event on, each once and byte for byte, up to `until` at least. */
export function archiveIsStream(
  name: string,
  rows: readonly Row[],
  messages: readonly Message[],
  until = 0,
): Violation[] {
  const check = 'SQLite equals the stream';
  const known = messages.length;
  for (const [index, row] of rows.entries()) {
    if (index >= known) break;
    const message = messages[index];
    if (row.seq !== message?.seq)
      return [{ check, text: `${name}: after ${index} events comes ${row.seq}, in the stream ${message?.seq}` }];
    if (!Buffer.from(row.bytes).equals(message.bytes))
      return [{ check, text: `${name}: event ${row.seq} is not what it is in the stream` }];
  }
  const last = rows.at(-1)?.seq ?? 0;
  return last < until ? [{ check, text: `${name}: it holds ${last} events, the stream ${until}` }] : [];
}

/** The hash chain: computed here as the design says it, not by the code under test. */
export function chainHolds(name: string, rows: readonly Row[]): Violation[] {
  let before: Uint8Array = new Uint8Array(32);
  for (const { seq, bytes, hash } of rows) {
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(seq));
    const next = createHash('sha256').update(before).update(place).update(bytes).digest();
    if (!next.equals(hash)) return [{ check: 'the hash chain holds', text: `${name}: it is broken at ${seq}` }];
    before = next;
  }
  return [];
}

/** What was in the log stays in it, as it was. */
export function logIsKept(before: readonly Message[], now: readonly Message[]): Violation[] {
  const check = 'the log is kept';
  const index = before.findIndex(
    ({ seq, bytes }, at) => now[at]?.seq !== seq || !Buffer.from(bytes).equals(now[at]?.bytes ?? []),
  );
  if (index >= 0) return [{ check, text: `event ${before[index]?.seq} was there, and is not what it was or has gone` }];
  const alien = now.find(({ event }) => event === undefined);
  return alien
    ? [{ check, text: `message ${alien.seq} is no event: ${Buffer.from(alien.bytes).toString().slice(0, 200)}` }]
    : [];
}
