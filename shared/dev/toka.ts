import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SignJWT } from 'jose';
import { Failure, messageOf } from '#shared/errors.ts';
import { readEnvironment } from './launch/environment.ts';
import { readSecrets } from './launch/secrets.ts';

// `npm run toka -- <command>`.

const usage = `npm run -s toka -- token [--scope "agents:read runs:read"] [--ttl 8h] [--sub name] [--data DIR]

  prints a token for the Agent API, signed with JWT_SECRET or with the secret that npm start has made`;

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
  if (command !== 'token') throw new Failure('invalid', `there is no command "${command}"\n\n${usage}`);
  const { values } = parseArgs({
    args,
    options: {
      scope: { type: 'string', default: 'admin' },
      ttl: { type: 'string', default: '8h' },
      sub: { type: 'string', default: 'developer' },
      data: { type: 'string' },
    },
  });
  if (!/^\d{1,6}[smhd]$/.test(values.ttl)) throw new Failure('invalid', '--ttl: must be such as 30m, 8h or 7d');
  const environment = readEnvironment('.env', process.env);
  const secret =
    environment.JWT_SECRET ??
    secretIn(environment.JWT_SECRET_FILE) ??
    readSecrets(values.data ?? environment.TOKA_HOME ?? '.toka')?.JWT_SECRET;
  if (!secret)
    throw new Failure('not-found', 'there is no secret to sign with yet: run npm start first, or set JWT_SECRET');
  return new SignJWT({ scope: values.scope })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(values.sub)
    .setIssuedAt()
    .setExpirationTime(values.ttl)
    .sign(new TextEncoder().encode(secret));
}
