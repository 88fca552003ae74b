import type { Command } from 'commander';
import { each } from '#shared/client/each.ts';
import type { AgentView, Memory } from '#shared/contracts/store.ts';
import type { Applied } from './apply.ts';
import { applyAgents } from './apply.ts';
import type { Columns } from './output.ts';
import { time } from './output.ts';
import { count, shellOf, take } from './shell.ts';

const row: Columns<AgentView> = {
  name: ({ id }) => id,
  status: ({ status }) => status,
  priority: ({ spec }) => spec.priority,
  workstream: ({ spec }) => spec.workstream,
  domain: ({ spec }) => spec.domain,
  objectives: ({ spec }) => spec.objectives.length,
  updated: ({ updatedAt }) => time(updatedAt),
};

const whole: Columns<AgentView> = {
  ...row,
  objectives: ({ spec }) => spec.objectives.map(({ deliverable }) => deliverable).join(', '),
  version: ({ spec }) => spec.version,
  model: ({ spec }) => spec.model,
  schedule: ({ spec }) => (typeof spec.schedule === 'object' ? spec.schedule.cron : spec.schedule),
  'depends on': ({ spec }) => spec.depends_on.join(', '),
  capabilities: ({ spec }) => spec.capabilities.primary.join(', '),
  'with approval': ({ spec }) => spec.capabilities.secondary.join(', '),
  branch: ({ spec }) => spec.branch,
  from: ({ origin }) => (origin === 'file' ? 'config/agents.toml' : 'the API'),
};

const memory: Columns<Memory> = {
  id: ({ id }) => id,
  time: (fact) => time(fact.time),
  run: ({ runId }) => runId,
  text: ({ text }) => text,
};

export function addAgents(program: Command): void {
  const agents = program
    .command('agents')
    .description('Agents: list, show, apply, remove, pause, resume, what they remember')
    .addHelpText('after', '\nExamples:\n  toka agents ls --workstream main\n  toka agents apply -f my-agents.toml');
  agents
    .command('ls')
    .description('List agents by name')
    .option('--status <status>', 'only those that are active, paused or quarantined')
    .option('--workstream <name>', 'only those of a workstream')
    .option('--domain <name>', 'only those of a domain')
    .option('--priority <priority>', 'only those that are critical, high, medium or low')
    .option('--limit <n>', 'how many at most', count, 500)
    .addHelpText('after', '\nExamples:\n  toka agents ls\n  toka agents ls --json | jq -r ".[].id"')
    .action(async ({ limit, ...filter }, command: Command) => {
      const { client, output } = shellOf(command);
      output.list(await take(each(client.listAgents, { ...only(filter), limit: Math.min(limit, 500) }), limit), row);
    });
  agents
    .command('show <name>')
    .description('Show an agent; with --json whole, as it can be applied')
    .addHelpText(
      'after',
      '\nExamples:\n  toka agents show scout\n  toka agents show scout --json | jq .spec > scout.json',
    )
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      output.one(await client.getAgent({ id }), whole);
    });
  agents
    .command('apply')
    .description('Create the agents of a file, or replace those that have changed')
    .requiredOption('-f, --file <file>', 'TOML as config/agents.toml has it, or JSON; "-" reads standard input')
    .addHelpText(
      'after',
      '\nExamples:\n  toka agents apply -f config/agents.toml\n  cat scout.json | toka agents apply -f -',
    )
    .action(async ({ file }: { file: string }, command: Command) => {
      const { client, output } = shellOf(command);
      const applied: Applied[] = [];
      try {
        for await (const each of applyAgents(client, file)) applied.push(each);
      } finally {
        // What was done before one was refused has been done.
        if (applied.length > 0) output.list(applied, { name: ({ name }) => name, result: ({ result }) => result });
      }
    });
  agents
    .command('rm <names...>')
    .description('Remove agents, and what they remember; their runs and events stay')
    .addHelpText('after', '\nExample:\n  toka agents rm scout')
    .action(async (names: string[], _, command: Command) => {
      const { client, output } = shellOf(command);
      for (const id of names) {
        await client.removeAgent({ id });
        output.say(`removed ${id}`);
      }
    });
  agents
    .command('memories <name>')
    .description('List what an agent has kept from its runs, the newest first')
    .option('--limit <n>', 'how many at most', count, 100)
    .addHelpText('after', '\nExamples:\n  toka agents memories scout\n  toka agents memories scout --json')
    .action(async (id: string, { limit }: { limit: number }, command: Command) => {
      const { client, output } = shellOf(command);
      output.list(await take(each(client.listMemories, { id, limit: Math.min(limit, 500) }), limit), memory);
    });
  agents
    .command('forget <name> <ids...>')
    .description('Have an agent forget what it has kept')
    .addHelpText('after', '\nExample:\n  toka agents forget scout mem_01J…')
    .action(async (id: string, ids: string[], _, command: Command) => {
      const { client, output } = shellOf(command);
      for (const memoryId of ids) {
        await client.forgetMemory({ id, memoryId });
        output.say(`forgotten ${memoryId}`);
      }
    });
  for (const [name, description] of [
    ['pause', 'Pause an agent: nothing new of it is started'],
    ['resume', 'Let a paused or quarantined agent go on'],
  ] as const)
    agents
      .command(`${name} <name>`)
      .description(description)
      .option('--reason <text>', 'why, for the log')
      .addHelpText('after', `\nExample:\n  toka agents ${name} scout --reason "the branch is frozen"`)
      .action(async (id: string, { reason }: { reason?: string }, command: Command) => {
        const { client, output } = shellOf(command);
        const input = { id, body: { reason } };
        output.row(await (name === 'pause' ? client.pauseAgent(input) : client.resumeAgent(input)), row);
      });
}

/** Options that were given, as a filter. What they may be is for the gateway to say, which names the field. */
export const only = (options: Readonly<Record<string, string>>): Record<string, never> =>
  options as Record<string, never>;
