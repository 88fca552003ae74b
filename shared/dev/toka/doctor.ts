import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { z } from 'zod';
import { problemLine, readAgentsFile } from '#shared/agents-file.ts';
import type { Client } from '#shared/client/client.ts';
import type { OddMessages } from '#shared/contracts/store.ts';
import { inMib, roomOf, roomProblem, stateOf } from '#shared/disk.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Environment } from '#shared/settings.ts';
import { readSettings } from '#shared/settings.ts';
import { Config as Gateway } from '../../../services/gateway/config.ts';
import { answers } from '../launch/ports.ts';
import { checkout } from './checkout.ts';
import { checkFile } from './config.ts';
import { findOnPath } from './path.ts';
import type { Shell } from './shell.ts';
import { shellOf } from './shell.ts';
import { dockerProblem } from './stack.ts';
import { findSecret } from './token.ts';

/** One thing that was looked at; `fix`: it is not in order, and this mends it. */
export type Finding = { what: string; fix?: string | undefined };

const nodeNeeded = 24;

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('What is wrong with this set-up, and how to mend it; fails where something is')
    .addHelpText('after', '\nExamples:\n  toka doctor\n  toka doctor --url https://toka.example.com --json')
    .action(async (_, command: Command) => {
      const shell = shellOf(command);
      const findings = await examine(shell);
      const wrong = findings.filter(({ fix }) => fix !== undefined);
      const { output } = shell;
      if (output.json) output.list(findings, {});
      else
        output.text(`${findings.map(({ what, fix }) => (fix ? `!!  ${what}: ${fix}` : `ok  ${what}`)).join('\n')}\n`);
      if (wrong.length > 0) process.exitCode = 1;
    });
}

async function examine(shell: Shell): Promise<Finding[]> {
  const isHere = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(shell.url).hostname);
  const services = await servicesOf(shell);
  const runs = services.every(({ fix }) => fix === undefined);
  if (!isHere) return services;
  return [
    versionOfNode(),
    ...settings(shell),
    ...files(shell),
    ...(await disk(shell)),
    ...(runs ? [] : [...(await programs()), ...(await ports(shell))]),
    ...services,
  ];
}

function versionOfNode(): Finding {
  const what = `Node ${process.versions.node}`;
  const isNew = Number.parseInt(process.versions.node, 10) >= nodeNeeded;
  return isNew ? { what } : { what, fix: `Toka needs Node ${nodeNeeded}; npm run toka brings its own` };
}

/** What signs tokens, who may read it, and what the gateway takes of the rest. */
function settings({ environment, data }: Shell): Finding[] {
  const found: Finding[] = [];
  const secret = findSecret(environment, data);
  if (environment.JWT_JWKS_URL === undefined)
    found.push(
      secret
        ? { what: 'a secret to sign tokens with' }
        : {
            what: 'JWT_SECRET',
            fix: 'it is not set: npm start makes one; for the stack put one into .env (openssl rand -base64 48)',
          },
    );
  const file = resolve(checkout, '.env');
  if (existsSync(file) && (statSync(file).mode & 0o077) !== 0)
    found.push({ what: '.env', fix: `others on this machine can read it: chmod 600 ${file}` });
  const wrong = settingsProblems({ ...environment, JWT_SECRET: secret }).filter(
    (line) => secret || !line.startsWith('JWT_SECRET '),
  );
  found.push(...(wrong.length > 0 ? wrong.map((fix) => ({ what: 'settings', fix })) : [{ what: 'settings' }]));
  return found;
}

function settingsProblems(environment: Environment): string[] {
  const { CONFIG_FILE = '' } = environment;
  try {
    // A file that is of no use is told of by itself, and hides nothing of the others.
    readSettings(Gateway, { ...environment, CONFIG_FILE: readAgentsFile(CONFIG_FILE).fatal ? '' : CONFIG_FILE });
    return [];
  } catch (error) {
    if (error instanceof Failure) return error.message.split('\n');
    throw error;
  }
}

function files({ environment }: Shell): Finding[] {
  const { CONFIG_FILE = '', MODELS_FILE = '' } = environment;
  return [CONFIG_FILE, MODELS_FILE].flatMap((file): Finding[] => {
    if (!existsSync(file)) return [];
    const problems = checkFile(file, environment);
    return problems.length === 0
      ? [{ what: file }]
      : problems.map((problem) => ({ what: 'configuration', fix: problemLine(file, problem) }));
  });
}

/** Whether there is room where npm start keeps its data. */
async function disk({ data, environment: { TOKA_HOME = '' } }: Shell): Promise<Finding[]> {
  const folder = data ?? TOKA_HOME;
  const room = await roomOf(folder).catch(() => undefined);
  if (!room) return []; // nothing was started here yet
  const state = stateOf(room);
  if (state === 'ok') return [{ what: `${inMib(room.freeBytes)} free under ${folder}` }];
  return [{ what: 'disk', fix: roomProblem(folder, room, state) }];
}

/** One of two ways to run it is enough. */
async function programs(): Promise<Finding[]> {
  const docker = await dockerProblem();
  if (!docker) return [{ what: 'Docker with Compose' }];
  const missing = ['nats-server', 'redis-server'].filter((name) => !findOnPath(name));
  if (missing.length === 0) return [{ what: 'nats-server and redis-server, for npm start' }];
  return [
    { what: 'Docker', fix: `${docker}; or go without it:` },
    { what: missing.join(' and '), fix: 'not found; npm start gets them by apt or brew, or install them' },
  ];
}

/** Who has the ports that the gateway wants, where it does not answer on them. */
async function ports({ environment: { PORT = '8080', MANAGEMENT_PORT = '9000' }, client }: Shell): Promise<Finding[]> {
  if (await isGateway(client)) return [];
  const wanted = Object.entries({ PORT, MANAGEMENT_PORT }).filter(
    ([, port]) => Number(port) > 0 && Number(port) < 65_536,
  );
  return Promise.all(
    wanted.map(async ([name, port]) =>
      (await answers(Number(port)))
        ? { what: `port ${port}`, fix: `another program has it: end that, or set ${name} to a port that is free` }
        : { what: `port ${port} is free` },
    ),
  );
}

const isGateway = (client: Client) =>
  client.getHealth().then(
    () => true,
    (error: unknown) => error instanceof Failure && error.code !== 'unavailable' && error.code !== 'upstream',
  );

/** What every instance says of itself, and who does not answer. */
async function servicesOf({ client, url, environment, data }: Shell): Promise<Finding[]> {
  try {
    const { services, missing, archive } = await client.getStatus();
    const checks = services.flatMap(({ service, instance, checks: each }) =>
      Object.entries(each).map(([name, state]) => ({
        what: `${service} ${instance}: ${name}`,
        // "ok, but …" is said of what works all the same.
        ...(state.startsWith('ok') ? {} : { fix: state }),
      })),
    );
    const absent = missing.map((what) => ({
      what,
      fix: 'no instance answers: its log says why (docker compose logs, or .toka/logs)',
    }));
    return [...checks.toSorted((a, b) => a.what.localeCompare(b.what)), ...absent, ...oddities(archive?.odd)];
  } catch (error) {
    return [{ what: url, fix: adviceFor(error, Boolean(environment.TOKA_TOKEN ?? findSecret(environment, data))) }];
  }
}

/** What lies in the log and no service of ours has written there. */
function oddities(odd: z.infer<typeof OddMessages> | undefined): Finding[] {
  if (!odd?.last) return [];
  const { count, last } = odd;
  const what = `${count} ${count === 1 ? 'message' : 'messages'} in the log that ${count === 1 ? 'is no event' : 'are no events'} of ours`;
  const who = 'whoever wrote it has a password of NATS: see OddMessages in prometheus/runbooks.md';
  return [{ what, fix: `the last is ${last.seq} on ${last.subject}; every reader passes over it, and ${who}` }];
}

function adviceFor(error: unknown, hasToken: boolean): string {
  const said = messageOf(error);
  if (!(error instanceof Failure)) throw error;
  if (!hasToken) return said;
  if (error.code === 'unauthorized' || error.code === 'forbidden')
    return `${said}: is its JWT_SECRET the one here? Set that, or TOKA_TOKEN to a token that it takes`;
  return `${said}: is Toka running? npm start, or toka up`;
}
