import type { Command } from 'commander';
import { databaseIn, findAdmin } from '../launch/admin.ts';
import { mendLogFrom } from '../launch/mend.ts';
import { shellOf } from './shell.ts';

export function addLog(program: Command): void {
  program
    .command('log')
    .description('The log of events')
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
}
