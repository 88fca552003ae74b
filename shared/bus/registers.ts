import { randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { keySubject, keyValueStream } from '#shared/contracts/subjects.ts';
import { publishUntil } from './publish.ts';
import { getStored } from './stored.ts';

const writeMsMax = 4_000;

/** The newest value of each name, in a bucket as NATS' own key-value clients read it. */
export type Registers = {
  /** Undefined: there is none. */
  read(name: string): Promise<{ text: string; revision: number } | undefined>;
  /** The newest value of each name that fits `pattern`, which may have NATS' wildcards. */
  list(pattern: string): Promise<{ name: string; text: string }[]>;
  /**
   * Answers its revision. `seen` is that of the value that it replaces, 0 for none: throws `conflict` where another was first. Without it
   * the last who writes wins.
   */
  write(name: string, text: string, seen?: number): Promise<number>;
  /** Takes a value away. Its place stays: the bucket's users may not delete. `seen` as above. */
  remove(name: string, seen?: number): Promise<void>;
};

export function openRegisters(nc: NatsConnection, bucket: string): Registers {
  const stream = keyValueStream(bucket);
  const put = (name: string, payload: string, expected: number | undefined, extra?: Record<string, string>) =>
    // A write whose acknowledgement was lost is repeated, and must not count as another writer's.
    publishUntil(
      nc,
      { stream, subject: keySubject(bucket, name), payload, id: randomUUID(), expected, extra },
      writeMsMax,
    );
  return {
    async read(name) {
      const found = await getStored(nc, stream, { last_by_subj: keySubject(bucket, name) });
      if (!found || found.headers.has('KV-Operation')) return undefined;
      return { text: found.bytes.toString('utf8'), revision: found.seq };
    },
    async list(pattern) {
      const found = new Map<string, string>();
      // A value that is written meanwhile is met again, at the end. Seen with nats-server 2.9.10 and 2.15.1.
      for (let seq = 1; ; ) {
        const next = await getStored(nc, stream, { seq, next_by_subj: keySubject(bucket, pattern) });
        if (!next) return [...found].map(([name, text]) => ({ name, text }));
        seq = next.seq + 1;
        const name = next.subject.slice(keySubject(bucket, '').length);
        if (next.headers.has('KV-Operation')) found.delete(name);
        else found.set(name, next.bytes.toString('utf8'));
      }
    },
    write: (name, text, seen) => put(name, text, seen),
    remove: async (name, seen) => void (await put(name, '', seen, { 'KV-Operation': 'DEL' })),
  };
}
