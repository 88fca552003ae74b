import type { z } from 'zod';
import type { Request } from '#shared/contracts/contract.ts';
import * as store from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { Archive } from './archive.ts';
import type { Audit } from './audit.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { Inlet } from './inlet.ts';
import { selectSpending } from './spending.ts';
import { selectNeeded } from './uses.ts';

/** Binds the answer to a question. */
export type Answer = <
  I extends z.ZodType<{ minSeq?: number | undefined; workstreams?: string[] | undefined }>,
  O extends z.ZodType,
>(
  contract: Request<I, O>,
  handle: (question: z.output<I>) => z.output<O> | Promise<z.output<O>>,
) => void;

/** Answers what is about all workstreams together, to those who are not limited to some. */
export function answerWhole(
  archive: Archive,
  answer: Answer,
  inlet: Pick<Inlet, 'state'>,
  audit: Audit,
  checkpoints: Checkpoints,
): void {
  const { db } = archive;
  answer(store.getSpending, ({ spenders, workstreams }) => {
    checkWhole(workstreams);
    return { usd: spenders.map((spender) => selectSpending(db, spender)) };
  });
  answer(store.getArchive, ({ workstreams }) => {
    checkWhole(workstreams);
    return {
      seq: archive.seq,
      events: archive.seq,
      odd: archive.odd(),
      chainHead: Buffer.from(archive.head).toString('hex'),
      databaseBytes:
        Number(db.pragma('page_count', { simple: true })) * Number(db.pragma('page_size', { simple: true })),
    };
  });
  answer(store.verifyArchive, ({ workstreams, anchor }) => {
    checkWhole(workstreams);
    return audit.check(anchor);
  });
  answer(store.getCheckpoint, ({ workstreams }) => {
    checkWhole(workstreams);
    if (archive.seq === 0) throw new Failure('not-found', 'the archive holds no event yet');
    return checkpoints.sign(archive.seq, Buffer.from(archive.head).toString('hex'));
  });
  answer(store.listNeeded, ({ workstreams, ...question }) => {
    checkWhole(workstreams);
    // Of an archive that is another log's, everything of this one could be taken away.
    if (inlet.state() !== 'ok') throw new Failure('unavailable', `nothing is said of artifacts: ${inlet.state()}`);
    return { needed: selectNeeded(db, question), seq: archive.seq };
  });
}

function checkWhole(workstreams: readonly string[] | undefined): void {
  if (workstreams)
    throw new Failure('forbidden', 'this is about all workstreams together, and the token is limited to some');
}
