import { dirname } from 'node:path';
import { watchDisk } from '#shared/disk.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { openArchive } from './archive.ts';
import { createAudit } from './audit.ts';
import { openCheckpoints } from './checkpoints.ts';
import { Config } from './config.ts';
import { markDamaged, openWhole } from './damage.ts';
import { followLog } from './follow.ts';
import { guardLog } from './guard.ts';
import { createInlet } from './inlet.ts';
import { answerQueries } from './queries.ts';
import { watchArchive } from './watch-archive.ts';
import { watchNats } from './watch-nats.ts';

const timerMsMax = 2 ** 31 - 1;

/** The archive: copies the event log into SQLite, folds it into views, and answers questions about it. */
export async function start(context: Context<Config>) {
  const { bus, config, logger, metrics, stack, check } = context;
  const file = config.DATABASE_FILE;
  const checkpoints = openCheckpoints(file);
  const archive = stack.use(
    await openWhole(file, bus, checkpoints, logger, (db) => openArchive(db, bus.readMessage, logger)),
  );
  const guard = await guardLog(context, archive); // before anybody appends
  const inlet = createInlet(archive, metrics, logger, guard);
  stack.use(await followLog(bus, archive, inlet, guard, logger)); // commit, then acknowledge
  check('archive', inlet.state);
  const damaged = (reason: string) => markDamaged(file, reason);
  const audit = createAudit({ archive, log: bus, checkpoints, metrics, logger, damaged });
  check('audit', audit.state);
  guard.trust(() => audit.state() === 'ok');
  answerQueries(bus, archive, guard, inlet, audit, checkpoints);
  if (config.AUDIT_VERIFY_INTERVAL > 0)
    repeat(stack, Math.min(config.AUDIT_VERIFY_INTERVAL * 1000, timerMsMax), async () => void (await audit.check()));
  watchArchive(stack, metrics, file, archive);
  watchDisk(context, { archive: dirname(file) });
  watchNats(context, archive);
}

if (import.meta.main) await runService('store', Config, start);
