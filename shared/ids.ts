import { createHash } from 'node:crypto';
import { ulid } from 'ulid';

/** A new id such as `run_01J…`: sorts by time. */
export const newId = (prefix: 'run' | 'evt' | 'apr' | 'mem') => `${prefix}_${ulid()}`;

/** The id of the run that `parts` ask for at `time` (ISO 8601): always the same, so that it can be queued only once. */
export function runIdFor(time: string, ...parts: string[]): string {
  const bytes = createHash('sha256').update(parts.join('\n')).digest();
  let next = 0;
  return `run_${ulid(Date.parse(time), () => (bytes[next++ % bytes.length] ?? 0) / 256)}`;
}
