import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { each } from '#shared/client/each.ts';
import type { KeyView } from '#shared/contracts/store.ts';
import type { Columns } from './output.ts';
import { time } from './output.ts';
import { collect, count, shellOf, take } from './shell.ts';

const row: Columns<KeyView> = {
  id: ({ id }) => id,
  name: ({ name }) => name,
  state: ({ state }) => state,
  models: ({ models }) => models.join(', ') || 'all',
  limits: ({ limits }) =>
    limits && `${limits.requests ?? 'any'} calls, ${limits.tokens ?? 'any'} tokens in ${limits.window} s`,
  budget: ({ budget }) => budget && `$${budget.usd} a ${budget.per}`,
  workstream: ({ workstream }) => workstream,
  expires: ({ expiresAt }) => time(expiresAt),
};

type Budget = { usd: number; per: 'day' | 'month' };
type Terms = {
  model?: string[];
  requests?: number;
  tokens?: number;
  window: number;
  budget?: Budget;
  workstream?: string;
  expires?: string;
};

export function addKeys(program: Command): void {
  const keys = program
    .command('keys')
    .description("Client keys for the llm-proxy's port 4000")
    .addHelpText(
      'after',
      '\nExamples:\n  toka keys create ci --model "gpt-*" --budget 5/day\n  toka keys revoke key_01J…',
    );
  keys
    .command('ls')
    .description('List keys, the newest first; secrets are kept nowhere')
    .option('--limit <n>', 'how many at most', count, 100)
    .addHelpText('after', '\nExample:\n  toka keys ls --json')
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const { client, output } = shellOf(command);
      output.list(await take(each(client.listKeys, { limit: Math.min(limit, 500) }), limit), row);
    });
  keys
    .command('create <name>')
    .description('Mint a key and print its secret, which nobody can show again')
    .option('--model <name>', 'a model that it may ask, with * for any part; may be given again', collect)
    .option('--requests <n>', 'calls in each window', count)
    .option('--tokens <n>', 'tokens in each window', count)
    .option('--window <seconds>', 'how long a window is', count, 60)
    .option('--budget <usd/per>', 'what it may cost: 5/day, 100/month', budgetOf)
    .option('--workstream <name>', 'whose work its calls are')
    .option('--expires <time>', 'when it ends, e.g. 2027-01-31T12:00:00Z')
    .addHelpText('after', '\nExample:\n  OPENAI_API_KEY=$(toka keys create ci --model "gpt-*" --budget 5/day)')
    .action(async (name: string, terms: Terms, command: Command) => {
      const { client, output } = shellOf(command);
      const made = await client.mintKey({ body: { name, ...termsOf(terms) } });
      if (output.json) return output.one(made, row);
      output.say(`${made.id} is made. Its secret is shown this once:`);
      output.text(`${made.secret}\n`);
    });
  keys
    .command('revoke <id>')
    .description('Revoke a key at once')
    .addHelpText('after', '\nExample:\n  toka keys revoke key_01J…')
    .action(async (id: string, _, command: Command) => {
      const { client, output } = shellOf(command);
      await client.revokeKey({ id });
      output.say(`revoked ${id}`);
    });
}

const termsOf = ({ model, requests, tokens, window, budget, workstream, expires }: Terms) => ({
  models: model ?? [],
  limits: requests || tokens ? { requests, tokens, window } : null,
  budget: budget ?? null,
  workstream: workstream ?? null,
  expiresAt: expires ?? null,
});

function budgetOf(value: string): Budget {
  const [, usd, per] = /^(\d+(?:\.\d+)?)\/(day|month)$/.exec(value) ?? [];
  if (!usd) throw new InvalidArgumentError('It takes US dollars for a day or a month: 5/day, 100/month.');
  return { usd: Number(usd), per: per as Budget['per'] };
}
