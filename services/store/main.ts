import { dirname } from 'node:path';
import { watchDisk } from '#shared/disk.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { openArchive } from './archive.ts';
import { createAudit } from './audit.ts';
import { Config } from './config.ts';
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
  const archive = stack.use(openArchive(config.DATABASE_FILE, bus.readMessage, logger));
  const guard = await guardLog(context, archive); // before anybody appends
  const inlet = createInlet(archive, metrics, logger, guard);
  stack.use(await followLog(bus, archive, inlet, guard, logger)); // commit, then acknowledge
  check('archive', inlet.state);
  const audit = createAudit(archive.db, metrics, logger);
  answerQueries(bus, archive, inlet.reach, audit);
  if (config.AUDIT_VERIFY_INTERVAL > 0)
    repeat(stack, Math.min(config.AUDIT_VERIFY_INTERVAL * 1000, timerMsMax), async () => void (await audit()));
  watchArchive(stack, metrics, config.DATABASE_FILE, archive);
  watchDisk(stack, metrics, { archive: dirname(config.DATABASE_FILE) });
  watchNats(context);
}

if (import.meta.main) await runService('store', Config, start);
