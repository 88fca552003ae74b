import { createHash } from 'node:crypto';

/** What the first event is chained to. */
export const chainStart: Uint8Array = new Uint8Array(32);

/** The chain's next link: SHA-256 over the link before, the sequence (8 bytes, big-endian) and the event's exact bytes. */
export function link(before: Uint8Array, seq: number, bytes: Uint8Array): Buffer {
  const place = Buffer.allocUnsafe(8);
  place.writeBigUInt64BE(BigInt(seq));
  return createHash('sha256').update(before).update(place).update(bytes).digest();
}
