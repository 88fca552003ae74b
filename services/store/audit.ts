import type { z } from 'zod';
import type { LogLook } from '#shared/bus/log-messages.ts';
import type { Anchor, verifyArchive } from '#shared/contracts/store.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Archive } from './archive.ts';
import { link } from './chain.ts';
import type { Checkpoints } from './checkpoints.ts';
import { compareWhole } from './compare-whole.ts';
import { findDamage } from './damage.ts';
import { verifyChain } from './verify.ts';

type Verdict = z.output<typeof verifyArchive.output>;
type Found = Omit<Verdict, 'anchor'>;

export type Audit = {
  /** Checks everything, and a checkpoint that was kept elsewhere. */
  check(anchor?: Anchor): Promise<Verdict>;
  /** `ok`, or what the last check found. */
  state(): string;
};

type Parts = {
  archive: Archive;
  log: LogLook;
  checkpoints: Checkpoints;
  metrics: Metrics;
  logger: Logger;
  /** Hears that the file itself is damaged, or an event in it of which the log has the right bytes. */
  damaged(reason: string): void;
};

/** Compares archive, log and the last checkpoint: one check at a time, which all share who ask meanwhile, for it reads every event. */
export function createAudit({ archive, log, checkpoints, metrics, logger, damaged }: Parts): Audit {
  let checking: Promise<Found> | undefined;
  let state = 'ok';
  const check = async (): Promise<Found> => {
    const kept = checkpoints.last();
    const chain = await verifyChain(archive.db);
    const damage = chain.intact
      ? await findDamage(archive.db)
      : (chain.damage ?? (await changedHere(archive, log, chain)));
    const compared = await compareWhole(archive, log, archive.seq);
    // An archive that is made anew has yet to come to it.
    const holdsKept = !kept || kept.seq > archive.seq || headAt(archive, kept.seq) === kept.chainHead;
    const found = { ...chain, intact: chain.intact && holdsKept && damage === null, damage, log: compared };
    const problems = problemsOf(found, holdsKept);
    metrics.auditBroken.set(found.intact ? 0 : 1);
    metrics.auditLogBroken.set(compared.missing > 0 || compared.differsAt !== null ? 1 : 0);
    metrics.auditChecked.set(Date.now() / 1000);
    state = problems.length === 0 ? 'ok' : problems.join('; ');
    if (problems.length > 0) logger.error(found, state);
    else if (chain.checked > (kept?.seq ?? 0)) checkpoints.keep(checkpoints.sign(chain.checked, chain.chainHead));
    if (damage !== null) damaged(damage);
    return found;
  };
  const failed = (error: unknown): never => {
    // A check that cannot be made is no better than one that fails.
    state = `the audit could not be made: ${String(error)}`;
    metrics.auditBroken.set(1);
    logger.error({ err: error }, 'the audit could not be made');
    throw error;
  };
  return {
    state: () => state,
    async check(anchor) {
      checking ??= check()
        .catch(failed)
        .finally(() => {
          checking = undefined;
        });
      const found = await checking;
      const holds = anchor && headAt(archive, anchor.seq) === anchor.chainHead;
      return { ...found, anchor: anchor ? { seq: anchor.seq, holds: holds ?? false } : null };
    },
  };
}

/** Where the chain breaks: whether the log has the very event that was written, so that it is this file that was changed. */
async function changedHere(
  archive: Archive,
  log: LogLook,
  { brokenAt, chainHead }: { brokenAt: number | null; chainHead: string },
) {
  const [message] = brokenAt === null ? [] : await log.messagesAt([brokenAt]);
  if (!message) return null;
  const wanted = link(Buffer.from(chainHead, 'hex'), message.seq, message.bytes).toString('hex');
  return headAt(archive, message.seq) === wanted
    ? `event ${brokenAt} is not what was written, and the log has it`
    : null;
}

/** What the chain came to at an event, as it is kept with it. */
function headAt({ db }: Archive, seq: number): string | undefined {
  const row = db.prepare<[number], { hash: Buffer }>('SELECT hash FROM events WHERE seq = ?').get(seq);
  return row?.hash.toString('hex');
}

function problemsOf({ brokenAt, damage, log }: Found, holdsKept: boolean): string[] {
  return [
    brokenAt === null ? '' : `the hash chain of the archive is broken at event ${brokenAt}`,
    damage === null
      ? ''
      : `the archive's file is damaged: ${damage}; this store makes it anew from the log when it starts again`,
    holdsKept
      ? ''
      : 'the chain does not come to what the last checkpoint says: the archive was made anew from other events',
    log.differsAt === null ? '' : `event ${log.differsAt} of the log is another than the archive's`,
    log.missing === 0
      ? ''
      : `the log lacks ${log.missing} events from ${log.firstMissing} on: "toka log restore" mends it`,
  ].filter((problem) => problem !== '');
}
