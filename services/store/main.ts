import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { openArchive } from './archive.ts';
import { Config } from './config.ts';
import { followLog } from './follow.ts';
import { createInlet } from './inlet.ts';
import { answerQueries } from './queries.ts';

/** The archive: copies the event log into SQLite, folds it into views, and answers questions about it. */
export async function start({ bus, config, logger, metrics, stack, check }: Context<Config>) {
  const archive = stack.use(openArchive(config.DATABASE_FILE, logger));
  const inlet = createInlet(archive, metrics, logger);
  stack.use(await followLog(bus, archive, inlet, logger)); // commit, then acknowledge
  check('archive', inlet.state);
  answerQueries(bus, archive, inlet.reach);
}

if (import.meta.main) await runService('store', Config, start);
