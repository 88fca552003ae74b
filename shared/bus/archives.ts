import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { archiveKey, logBucket } from '#shared/contracts/subjects.ts';
import { jsonOf } from './json.ts';
import { openRegisters } from './registers.ts';

const End = z.object({ seq: z.int().nonnegative(), time: z.iso.datetime() });

/** How far an archive has come: `seq` is its last event, on its disk; `time` is when its store last said so. */
export type ArchiveEnd = z.infer<typeof End> & { id: string };

/** What stores say of their archives, so that each knows what another holds which is away. */
export type Archives = {
  /** Says it of one's own. Only the store may, and who may all. */
  write(id: string, seq: number): Promise<void>;
  /** Every archive that was heard of and not forgotten. An end may be older than the archive's, never newer. */
  list(): Promise<ArchiveEnd[]>;
  /** Nothing is known of it any more, until its store says it again. */
  forget(id: string): Promise<void>;
};

export function openArchives(nc: NatsConnection): Archives {
  const bucket = openRegisters(nc, logBucket);
  return {
    async write(id, seq) {
      const end: z.input<typeof End> = { seq, time: new Date().toISOString() };
      await bucket.write(archiveKey(id), JSON.stringify(end));
    },
    async list() {
      const found = await bucket.list(archiveKey('*'));
      return found.flatMap(({ name, text }) => {
        const { data } = End.safeParse(jsonOf(Buffer.from(text)));
        return data ? [{ id: name.slice(archiveKey('').length), ...data }] : [];
      });
    },
    forget: (id) => bucket.remove(archiveKey(id)),
  };
}
