import type { Command } from 'commander';
import { only } from './agents.ts';
import { createTeller, lostTo } from './log.ts';
import { shellOf } from './shell.ts';

export function addEvents(program: Command): void {
  program
    .command('events')
    .description('The log, live')
    .command('tail')
    .description('Follow the log from now on, or from a sequence on, until Ctrl-C')
    .option('--subject <subject>', 'only those of one thing, or of a kind: run/run_01J…, "agent/*"')
    .option('--type <types>', 'only those types, or beginnings of types: "toka.run.failed.v1,toka.agent.*"')
    .option('--agent <name>', 'only those of an agent and its runs')
    .option('--workstream <name>', 'only those of a workstream')
    .option('--since <seq>', 'from after that sequence on; 0: all of the log')
    .addHelpText(
      'after',
      '\nExamples:\n  toka events tail --agent scout\n  toka events tail --since 0 --json | jq .type',
    )
    .action(async (filter: Record<string, string>, command: Command) => {
      const { client, output } = shellOf(command);
      await client.getHealth(); // who follows waits for ever; nobody there is told at once
      const { tell } = createTeller();
      for await (const event of client.events(only(filter), { lost: lostTo(output.say) }))
        output.next(event, tell(event).line);
    });
}
