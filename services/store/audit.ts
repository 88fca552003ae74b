import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Database } from './database.ts';
import { verifyChain } from './verify.ts';

type Verdict = Awaited<ReturnType<typeof verifyChain>>;

/** Checks the hash chain: one check at a time, which all share who ask meanwhile, for it reads every event. */
export function createAudit(db: Database, metrics: Metrics, logger: Logger): () => Promise<Verdict> {
  let checking: Promise<Verdict> | undefined;
  const check = async () => {
    const verdict = await verifyChain(db);
    metrics.auditBroken.set(verdict.intact ? 0 : 1);
    metrics.auditChecked.set(Date.now() / 1000);
    if (!verdict.intact) logger.error({ seq: verdict.brokenAt }, 'the hash chain of the archive is broken');
    return verdict;
  };
  return () => {
    checking ??= check().finally(() => {
      checking = undefined;
    });
    return checking;
  };
}
