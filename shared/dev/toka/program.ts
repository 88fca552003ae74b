import { Command } from 'commander';
import { version } from '#shared/version.ts';
import { addAgents } from './agents.ts';
import { addApprovals } from './approvals.ts';
import { addAudit } from './audit.ts';
import { addBackup } from './backup.ts';
import { addCompletion } from './completion.ts';
import { addConfig } from './config.ts';
import { addDoctor } from './doctor.ts';
import { addEvents } from './events.ts';
import { exitHelp } from './exit.ts';
import { addKeys } from './keys.ts';
import { addLog } from './restore-log.ts';
import { addRuns } from './runs.ts';
import { addStack } from './stack.ts';
import { addSystem } from './system.ts';
import { addWebhooks } from './webhooks.ts';

/** The command line. Throws for whatever goes wrong with it. */
export function createProgram(): Command {
  const program = new Command('toka')
    .description('Toka from the command line: over its HTTP API, with TOKA_TOKEN or a token of its own by JWT_SECRET')
    .version(version)
    .option('--url <url>', 'where the API is (TOKA_URL; else http://localhost:PORT)')
    .option('--json', 'JSON for programs: a list, or for streams an object on each line')
    .option('--data <dir>', 'where npm start keeps its data, with its secrets (TOKA_HOME, else .toka)')
    .addHelpText(
      'after',
      `\nExamples:\n  toka status\n  toka runs start scout --input "What is new?" --wait\n  toka events tail --agent scout\n\n${exitHelp}`,
    );
  for (const add of [
    ...[addStack, addSystem, addAgents, addRuns, addEvents, addLog, addAudit, addBackup],
    ...[addApprovals, addKeys, addWebhooks, addConfig, addDoctor, addCompletion],
  ])
    add(program);
  strict(program);
  return program;
}

/** As subcommands are made they have taken over nothing of this. */
function strict(command: Command): void {
  command.exitOverride().configureHelp({ showGlobalOptions: true });
  for (const each of command.commands) strict(each);
}
