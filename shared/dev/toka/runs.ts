import type { Command } from 'commander';
import { each } from '#shared/client/each.ts';
import type { RunView } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import { only } from './agents.ts';
import { showLog, untilEnd } from './log.ts';
import type { Columns } from './output.ts';
import { money, time } from './output.ts';
import type { Shell } from './shell.ts';
import { count, shellOf, take } from './shell.ts';

const row: Columns<RunView> = {
  id: ({ id }) => id,
  agent: ({ agentId }) => agentId,
  work: ({ workId }) => workId,
  status: ({ status }) => status,
  steps: ({ steps }) => steps,
  cost: ({ usage }) => money(usage.costUsd),
  queued: ({ queuedAt }) => time(queuedAt),
  ended: ({ endedAt }) => time(endedAt),
};

const whole: Columns<RunView> = {
  ...row,
  description: ({ description }) => description,
  tokens: ({ usage }) => usage.inputTokens + usage.outputTokens,
  deliverable: ({ deliverable }) => deliverable?.name,
  result: ({ result }) => result,
  error: ({ error }) => error && `${error.code}: ${error.message}`,
  'retry of': ({ retryOf }) => retryOf,
  'fork of': ({ forkOf }) => forkOf && `${forkOf.runId}, event ${forkOf.at}`,
  'waits for': ({ approvals }) => approvals.map(({ id }) => id).join(', '),
  branch: ({ workspace }) => workspace?.branch,
};

type Wait = { wait?: boolean };

export function addRuns(program: Command): void {
  const runs = program
    .command('runs')
    .description('Runs: list, show, start, cancel, retry, fork, follow')
    .addHelpText(
      'after',
      '\nExamples:\n  toka runs start scout --input "Find the slowest test" --wait\n  toka runs logs -f run_01J…',
    );
  runs
    .command('ls')
    .description('List runs, the newest first')
    .option('--agent <name>', 'only those of an agent')
    .option('--status <status>', 'only those that are queued, running, waiting, completed, failed, …')
    .option('--workstream <name>', 'only those of a workstream')
    .option('--domain <name>', 'only those of a domain')
    .option('--priority <priority>', 'only those that are critical, high, medium or low')
    .option('--since <time>', 'only those queued at that time or later, e.g. 2026-01-31T06:00:00Z')
    .option('--until <time>', 'only those queued before that time')
    .option('--limit <n>', 'how many at most', count, 50)
    .addHelpText('after', '\nExamples:\n  toka runs ls --status failed\n  toka runs ls --agent scout --json')
    .action(async ({ limit, ...filter }, command: Command) => {
      const { client, output } = shellOf(command);
      output.list(await take(each(client.listRuns, { ...only(filter), limit: Math.min(limit, 500) }), limit), row);
    });
  runs
    .command('show <id>')
    .description('Show a run')
    .addHelpText('after', '\nExample:\n  toka runs show run_01J…')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      output.one(await client.getRun({ id }), whole);
    });
  addBeginnings(runs);
  addFork(runs);
  runs
    .command('cancel <id>')
    .description('Cancel a run')
    .option('--reason <text>', 'why, for the log')
    .addHelpText('after', '\nExample:\n  toka runs cancel run_01J… --reason "no longer needed"')
    .action(async (id: string, { reason }: { reason?: string }, command: Command) => {
      const { client, output } = shellOf(command);
      output.row(await client.cancelRun({ id, body: { reason } }), row);
    });
  runs
    .command('logs <id>')
    .description('What a run has done, event by event')
    .option('-f, --follow', 'go on until the run ends')
    .addHelpText('after', '\nExamples:\n  toka runs logs run_01J…\n  toka runs logs -f run_01J… --json')
    .action(async (id: string, { follow = false }: { follow?: boolean }, command: Command) =>
      showLog(shellOf(command), id, follow),
    );
  runs
    .command('diff <id>')
    .description('What a run changed in its workspace, as a patch')
    .addHelpText('after', '\nExample:\n  toka runs diff run_01J… | git apply')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      output.text(await (await client.getDiff({ id })).text());
    });
}

function addBeginnings(runs: Command): void {
  runs
    .command('start <agent>')
    .description('Queue a run of an agent')
    .option('--input <text>', 'what it is to do, once')
    .option('--objective <id>', 'which of its objectives it is to work on anew')
    .option('--at <time>', 'when it may begin, e.g. 2026-01-31T06:00:00Z')
    .option('--wait', 'wait for its end, and fail if it fails')
    .addHelpText(
      'after',
      '\nExamples:\n  toka runs start scout --input "What is new?" --wait\n  toka runs start scout --objective inventory',
    )
    .action(
      async (
        id: string,
        { input, objective, at, wait }: Wait & { input?: string; objective?: string; at?: string },
        command: Command,
      ) => {
        if ((input === undefined) === (objective === undefined))
          command.error("error: give either '--input <text>' or '--objective <id>'");
        const shell = shellOf(command);
        await begun(shell, await shell.client.startRun({ id, body: { input, objective, runAt: at } }), wait);
      },
    );
  runs
    .command('retry <id>')
    .description('Do a run that failed or was cancelled once more, as a run of its own')
    .option('--wait', 'wait for its end, and fail if it fails')
    .addHelpText('after', '\nExample:\n  toka runs retry run_01J… --wait')
    .action(async (id: string, { wait }: Wait, command: Command) => {
      const shell = shellOf(command);
      await begun(shell, await shell.client.retryRun({ id }), wait);
    });
}

type ForkOptions = Wait & { at?: number; message?: string; model?: string; instructions?: string };

function addFork(runs: Command): void {
  runs
    .command('fork <id>')
    .description('Go on from how a run stood, with its conversation and its files, as a run of its own')
    .option(
      '--at <seq>',
      "the run's event after which it stood so, as logs --json tells it (seq); else the last one",
      count,
    )
    .option('--message <text>', 'what you say to it there')
    .option('--model <name>', "another model than the agent's")
    .option('--instructions <text>', "other instructions than the agent's")
    .option('--wait', 'wait for its end, and fail if it fails')
    .addHelpText('after', '\nExample:\n  toka runs fork run_01J… --at 42 --message "Leave out the tests" --wait')
    .action(async (id: string, { at, message, model, instructions, wait }: ForkOptions, command: Command) => {
      const shell = shellOf(command);
      const overrides = { model, instructions };
      await begun(shell, await shell.client.forkRun({ id, body: { at, message, overrides } }), wait);
    });
}

async function begun(shell: Shell, run: RunView, wait = false): Promise<void> {
  const last = wait ? await untilEnd(shell, run) : run;
  if (wait) shell.output.one(last, whole);
  else shell.output.row(last, row);
  if (wait && last.status !== 'completed')
    throw new Failure('conflict', `${last.id} ${last.status}${last.error ? `: ${last.error.message}` : ''}`);
}
