import type { Command } from 'commander';
import { each } from '#shared/client/each.ts';
import type { WebhookView } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { Columns } from './output.ts';
import { time } from './output.ts';
import { collect, count, shellOf, take } from './shell.ts';

const row: Columns<WebhookView> = {
  id: ({ id }) => id,
  url: ({ url }) => url,
  state: ({ state }) => state,
  types: ({ types }) => types.join(', ') || 'all',
  agent: ({ agent }) => agent,
  workstream: ({ workstream }) => workstream,
};

type Shown = WebhookView & { delivery: { failures: number; lastFailure: string | null } | null };

const whole: Columns<Shown> = {
  ...row,
  owner: ({ owner }) => owner,
  created: ({ createdAt }) => time(createdAt),
  disabled: ({ disabled }) => disabled && `${time(disabled.at)}: ${disabled.reason}`,
  'failed in a row': ({ delivery }) => delivery?.failures,
  'last failure': ({ delivery }) => delivery?.lastFailure,
};

type Terms = { type?: string[]; agent?: string; workstream?: string };

export function addWebhooks(program: Command): void {
  const webhooks = program
    .command('webhooks')
    .description('Events delivered to a URL, signed')
    .addHelpText(
      'after',
      '\nExamples:\n  toka webhooks create https://example.com/hook --type "toka.run.*"\n  toka webhooks test whk_01J…',
    );
  webhooks
    .command('ls')
    .description('List webhooks, the newest first')
    .option('--limit <n>', 'how many at most', count, 100)
    .addHelpText('after', '\nExample:\n  toka webhooks ls --json')
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const { client, output } = shellOf(command);
      output.list(await take(each(client.listWebhooks, { limit: Math.min(limit, 500) }), limit), row);
    });
  webhooks
    .command('show <id>')
    .description('Show a webhook, and how its deliveries go')
    .addHelpText('after', '\nExample:\n  toka webhooks show whk_01J…')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      output.one(await client.getWebhook({ id }), whole);
    });
  webhooks
    .command('create <url>')
    .description('Have events delivered, and print the secret that they are signed with, which nobody can show again')
    .option('--type <type>', 'a type of event, or its beginning and *; may be given again; else all', collect)
    .option('--agent <name>', 'only what is about this agent')
    .option('--workstream <name>', 'only what is of this workstream')
    .addHelpText('after', '\nExample:\n  SECRET=$(toka webhooks create https://example.com/hook --type "toka.run.*")')
    .action(async (url: string, { type, agent, workstream }: Terms, command: Command) => {
      const { client, output } = shellOf(command);
      const made = await client.createWebhook({ body: { url, types: type ?? [], agent, workstream } });
      if (output.json) return output.one(made, row);
      output.say(`${made.id} is made. Its secret is shown this once:`);
      output.text(`${made.secret}\n`);
    });
  addChanges(webhooks);
}

function addChanges(webhooks: Command): void {
  webhooks
    .command('test <id>')
    .description('Deliver a test event now, and fail if it is not taken')
    .addHelpText('after', '\nExample:\n  toka webhooks test whk_01J…')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      const tried = await client.testWebhook({ id });
      output.one(tried, { outcome: () => tried.outcome, reason: () => tried.reason });
      if (tried.outcome !== 'delivered') throw new Failure('conflict', `it was not delivered: ${tried.reason}`);
    });
  webhooks
    .command('enable <id>')
    .description('Deliver again to a webhook that was disabled: all that came since')
    .option('--skip', 'leave out what came since')
    .addHelpText('after', '\nExample:\n  toka webhooks enable whk_01J… --skip')
    .action(async (id: string, { skip = false }: { skip?: boolean }, command: Command) => {
      const { client, output } = shellOf(command);
      output.row(await client.enableWebhook({ id, body: { skip } }), row);
    });
  webhooks
    .command('rm <id>')
    .description('Delete a webhook')
    .addHelpText('after', '\nExample:\n  toka webhooks rm whk_01J…')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      await client.deleteWebhook({ id });
      output.say(`deleted ${id}`);
    });
}
