import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SignJWT } from 'jose';
import { z } from 'zod';
import { Failure, messageOf } from '#shared/errors.ts';
import { developmentSecret } from '#shared/secrets.ts';
import { readEnvironment } from './launch/environment.ts';
import { readSecrets } from './launch/secrets.ts';

// `npm run toka -- <command>`.

const usage = `npm run -s toka -- token [--scope "agents:read runs:read"] [--ttl 8h] [--sub name] [--workstream name …] [--data DIR]

  prints a token for the Agent API, signed with JWT_SECRET or with the secret that npm start has made;
  with --workstream (as often as you like) for what belongs to those alone

npm run -s toka -- doctor [--url http://localhost:8080] [--data DIR]

  asks every service whether it can do its work, and says what cannot; ends with 1 where something cannot`;

try {
  process.stdout.write(`${await main(process.argv.slice(2))}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Failure ? error.message : messageOf(error)}\n`);
  process.exitCode = 1;
}

/** What a file of the environment's NAME_FILE holds; none where it is empty. */
function secretIn(file: string | undefined): string | undefined {
  return (file && readFileSync(file, 'utf8').trim()) || undefined;
}

async function main([command, ...args]: string[]): Promise<string> {
  if (command === undefined || command === 'help' || command === '--help') return usage;
  if (command === 'doctor') return doctor(args);
  if (command !== 'token') throw new Failure('invalid', `there is no command "${command}"\n\n${usage}`);
  return token(args);
}

const Status = z.object({
  services: z.array(
    z.object({
      service: z.string(),
      instance: z.string(),
      ready: z.boolean(),
      checks: z.record(z.string(), z.string()),
    }),
  ),
});

/** What every instance says of itself; throws where one is not well. */
async function doctor(args: string[]): Promise<string> {
  const { values } = parseArgs({ args, options: { url: { type: 'string' }, data: { type: 'string' } } });
  const { PORT = '8080' } = readEnvironment('.env', process.env);
  const url = values.url ?? `http://localhost:${PORT}`;
  const data = values.data === undefined ? [] : ['--data', values.data];
  const authorization = `Bearer ${await token(['--scope', 'runs:read', '--ttl', '1m', ...data])}`;
  const response = await fetch(`${url}/status`, { headers: { authorization } }).catch((error: Error) => {
    throw new Failure(
      'unavailable',
      `nobody answers on ${url} (${messageOf(error.cause ?? error)}): is Toka running? npm start, or docker compose ps`,
    );
  });
  if (!response.ok)
    throw new Failure(
      'upstream',
      `${url}/status answered ${response.status}: ${(await response.text()).slice(0, 300)}`,
    );
  const { services } = Status.parse(await response.json());
  const lines = services.flatMap(({ service, instance, checks }) =>
    Object.entries(checks).map(
      ([name, state]) =>
        `${state === 'ok' ? 'ok ' : '!! '} ${service} ${instance}: ${name}${state === 'ok' ? '' : `: ${state}`}`,
    ),
  );
  for (const name of ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'])
    if (!services.some(({ service }) => service === name)) lines.push(`!!  ${name}: no instance answers`);
  const report = lines.toSorted().join('\n');
  if (lines.some((line) => line.startsWith('!!'))) throw new Failure('unavailable', report);
  return report;
}

async function token(args: string[]): Promise<string> {
  const { values } = parseArgs({
    args,
    options: {
      scope: { type: 'string', default: 'admin' },
      ttl: { type: 'string', default: '8h' },
      sub: { type: 'string', default: 'developer' },
      data: { type: 'string' },
      workstream: { type: 'string', multiple: true },
    },
  });
  if (!/^\d{1,6}[smhd]$/.test(values.ttl)) throw new Failure('invalid', '--ttl: must be such as 30m, 8h or 7d');
  const environment = readEnvironment('.env', process.env);
  const secret =
    environment.JWT_SECRET ??
    secretIn(environment.JWT_SECRET_FILE) ??
    readSecrets(values.data ?? environment.TOKA_HOME ?? '.toka')?.JWT_SECRET ??
    (/^(true|1|yes|on)$/.test(environment.TOKA_DEV ?? '') ? developmentSecret : undefined);
  if (!secret)
    throw new Failure('not-found', 'there is no secret to sign with yet: run npm start first, or set JWT_SECRET');
  const { scope, workstream: workstreams } = values;
  return new SignJWT({ scope, ...(workstreams ? { workstreams } : {}) })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(values.sub)
    .setIssuedAt()
    .setExpirationTime(values.ttl)
    .sign(new TextEncoder().encode(secret));
}
