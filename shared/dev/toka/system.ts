import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { decodeJwt } from 'jose';
import { scopes } from '#shared/contracts/api/endpoint.ts';
import { usageKeys } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import { settingsHere } from './checkout.ts';
import { money } from './output.ts';
import { collect, shellOf } from './shell.ts';
import { signToken } from './token.ts';

export function addSystem(program: Command): void {
  program
    .command('status')
    .description('How the whole is doing: services, agents, runs; fails where a service is not ready')
    .addHelpText('after', '\nExamples:\n  toka status\n  toka status --json | jq .scheduling')
    .action(async (_, command: Command) => {
      const { client, output } = shellOf(command);
      const status = await client.getStatus();
      const tell = (counts: Record<string, number> | null) =>
        counts
          ? Object.entries(counts)
              .map(([name, count]) => `${count} ${name}`)
              .join(', ') || 'none'
          : 'unknown';
      if (!output.json)
        output.list(status.services, {
          service: ({ service }) => service,
          instance: ({ instance }) => instance,
          version: ({ version }) => version,
          ready: ({ ready }) => (ready ? 'yes' : 'no: see toka doctor'),
        });
      output.one(status, {
        missing: ({ missing }) => missing.join(', '),
        agents: ({ agents }) => tell(agents),
        'open runs': ({ runs }) => tell(runs),
        phase: ({ scheduling }) => scheduling?.phase,
        backlog: ({ scheduling }) => scheduling?.backlog,
        'log at': ({ log }) => log.seq,
        'archive at': ({ archive }) => archive?.seq ?? 'unknown',
      });
      if (!status.ready) process.exitCode = 1;
    });
  program
    .command('usage')
    .description('Tokens and cost')
    .addOption(new Option('--by <what>', 'by what it is added up').choices(usageKeys).default('agent'))
    .option('--since <day>', 'from that day (UTC) on, e.g. 2026-01-31')
    .option('--until <day>', 'up to that day, which counts')
    .addHelpText('after', '\nExamples:\n  toka usage --by model --since 2026-01-01\n  toka usage --by day --json')
    .action(async (query: { by: (typeof usageKeys)[number]; since?: string; until?: string }, command: Command) => {
      const { client, output } = shellOf(command);
      output.list((await client.getUsage(query)).items, {
        [query.by]: ({ key }) => key,
        calls: ({ calls }) => calls,
        'tokens in': ({ inputTokens }) => inputTokens,
        'tokens out': ({ outputTokens }) => outputTokens,
        cost: ({ costUsd }) => money(costUsd),
        'without price': ({ callsWithoutPrice }) => callsWithoutPrice,
      });
    });
  addToken(program);
}

type TokenOptions = { scope: string; ttl: string; sub: string; workstream?: string[] };

function addToken(program: Command): void {
  const token = program
    .command('token')
    .description('Print a token for the API, signed with JWT_SECRET or with the secret that npm start has made')
    .option('--scope <scopes>', `what it may, with spaces between: ${scopes.join(' ')}`, 'admin')
    .option('--ttl <time>', 'how long it counts: 30m, 8h, 7d', ttl, '8h')
    .option('--sub <name>', 'whose it is, for the log', 'developer')
    .option('--workstream <name>', 'limits it to that workstream; may be given again', collect)
    .addHelpText(
      'after',
      '\nExample:\n  TOKEN=$(toka token --scope "agents:read runs:read" --workstream main --ttl 8h)',
    )
    .action(async ({ workstream: workstreams, ...terms }: TokenOptions, command: Command) => {
      const { data }: { data?: string } = command.optsWithGlobals();
      const made = await signToken({ ...terms, workstreams }, settingsHere(), data);
      process.stdout.write(`${made}\n`);
    });
  token
    .command('revoke <token>')
    .description('Revoke a token at once: the token itself, or its id (the claim jti)')
    .option('--issuer <iss>', 'who made it, where that is another issuer and only its id is given')
    .option('--reason <text>', 'why, for the log')
    .addHelpText('after', '\nExample:\n  toka token revoke "$TOKEN" --reason "it was in a log"')
    .action(async (text: string, { issuer, reason }: { issuer?: string; reason?: string }, command: Command) => {
      const { client, output } = shellOf(command);
      const { jti, iss = issuer } = claimsOf(text);
      await client.revokeToken({ body: { jti, iss, reason } });
      output.say(`revoked ${jti}`);
    });
}

/** What says which token it is: its claims, or the id that it was called by. */
function claimsOf(text: string): { jti: string; iss?: string | undefined } {
  if (text.split('.').length !== 3) return { jti: text };
  const { jti, iss } = decodeJwt(text);
  if (jti === undefined)
    throw new Failure('invalid', 'this token has no id (jti), so it cannot be revoked alone: replace JWT_SECRET');
  return { jti, iss };
}

function ttl(value: string): string {
  if (!/^\d{1,6}[smhd]$/.test(value)) throw new InvalidArgumentError('It takes a time such as 30m, 8h or 7d.');
  return value;
}
