import { createHash, randomFillSync } from 'node:crypto';
import { monotonicFactory, ulid } from 'ulid';

type Prefix = 'run' | 'evt' | 'apr' | 'mem' | 'key' | 'whk';

// One call into the system's generator for many ids: a call for each character was a sixth of a runner's time.
const random = new Uint8Array(4_096);
let used = random.length;
function nextRandom(): number {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  return (random[used++] ?? 0) / 256;
}

/** One sorts behind the other, in the same millisecond and where the clock was set back, too. */
const nextUlid = monotonicFactory(nextRandom);

/** A new id such as `run_01J…`: sorts by time, and those of one process in the order in which they were made. */
export const newId = (prefix: Prefix) => `${prefix}_${nextUlid()}`;

/** The id of the run that `parts` ask for at `time` (ISO 8601): always the same, so that it can be queued only once. */
export const runIdFor = (time: string, ...parts: string[]): string => idFor('run', time, ...parts);

/** As `runIdFor`, for any kind of id. */
export function idFor(prefix: Prefix, time: string, ...parts: string[]): string {
  const bytes = createHash('sha256').update(parts.join('\n')).digest();
  let next = 0;
  return `${prefix}_${ulid(Date.parse(time), () => (bytes[next++ % bytes.length] ?? 0) / 256)}`;
}
