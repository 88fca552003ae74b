import type { Command } from 'commander';
import type { ArchiveEnd } from '#shared/bus/archives.ts';
import { openRestorer } from '#shared/bus/bus.ts';
import { Failure } from '#shared/errors.ts';
import { databaseIn, findAdmin } from '../launch/admin.ts';
import { mendLogFrom } from '../launch/mend.ts';
import { time } from './output.ts';
import { shellOf } from './shell.ts';

export function addLog(program: Command): void {
  const log = program.command('log').description('The log of events');
  log
    .command('restore')
    .description('Put back into the log what it has lost and the archive holds, at the same sequences')
    .option('--safe', 'only what needs nobody to decide: events that are missing at its end')
    .option(
      '--replace',
      "also where the log holds something else: that is written to a file beside the archive's first",
    )
    .addHelpText(
      'after',
      '\nIt needs the password of the NATS user that may all: that of npm start, or NATS_URL and NATS_PASSWORD.\nIn the stack: docker compose run --rm set-up-nats node shared/dev/toka.ts log restore\n\nExamples:\n  toka log restore\n  toka log restore --replace',
    )
    .action(async ({ safe, replace }: { safe?: boolean; replace?: boolean }, command: Command) => {
      const { environment, data, output } = shellOf(command);
      const home = data ?? environment.TOKA_HOME ?? '.toka';
      const means = replace ? 'replace' : safe ? 'fill' : 'remake';
      const done = await mendLogFrom(databaseIn(environment, home), await findAdmin(environment, home), means);
      output.say(done ?? 'Nothing is missing in the log.');
    });
  log
    .command('archives')
    .description('How far the archive of each store had come when it was last heard of')
    .option('--forget <id>', 'one that will not come back: nobody waits any more for what it alone had')
    .addHelpText(
      'after',
      '\nIt needs the same password as "toka log restore".\n\nExamples:\n  toka log archives\n  toka log archives --forget 6f1c2a9b03de',
    )
    .action(async ({ forget }: { forget?: string }, command: Command) => {
      const { environment, data, output } = shellOf(command);
      const admin = await findAdmin(environment, data ?? environment.TOKA_HOME ?? '.toka');
      await using bus = await openRestorer({ ...admin, name: 'archives', leaseMs: 30_000, replicas: 1 });
      const ends = await bus.archives.list();
      const shown = {
        archive: ({ id }: ArchiveEnd) => id,
        'last event': ({ seq }: ArchiveEnd) => seq,
        heard: (end: ArchiveEnd) => time(end.time),
      };
      if (forget === undefined) return output.list(ends, shown);
      const found = ends.find(({ id }) => id === forget);
      if (!found) throw new Failure('not-found', `no archive ${forget} was heard of; "toka log archives" lists them`);
      await bus.archives.forget(forget);
      output.row(found, shown);
    });
}
