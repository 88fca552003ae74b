import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from './eventually.ts';
import { temporaryFolder } from './temporary.ts';

const run = promisify(execFile);
const outputBytesMax = 64 * 1024 ** 2;

/** Nothing of this machine's own settings: the stack's come from its .env alone. */
const environment = { PATH: process.env.PATH, HOME: process.env.HOME, DOCKER_HOST: process.env.DOCKER_HOST };

/** Runs docker. Answers what it printed; throws with what it said went wrong. */
export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run('docker', args, { env: environment, maxBuffer: outputBytesMax });
  return stdout.trim();
}

/** Whether the tests of the stack are to run, and can. */
export const wanted = process.env.TOKA_STACK === '1';

export const madeSecret = () => randomBytes(24).toString('hex');

/** Where an image is neither here nor to be had, its service is left out. */
async function isThere(image: string): Promise<boolean> {
  const found = await docker('image', 'inspect', '-f', '{{.Id}}', image).catch(() => '');
  return found !== '' || (await docker('pull', '-q', image).catch(() => '')) !== '';
}

type ComposeConfig = { services: Record<string, { image: string; environment?: Record<string, string> }> };

/** The stack of compose.yaml under a name of its own, on ports that are free. */
export type Stack = {
  name: string;
  api: string;
  management: string;
  prometheus: string;
  /** Services that can be started here, and those whose image cannot be had. */
  services: string[];
  missing: string[];
  config: ComposeConfig;
  compose(...args: string[]): Promise<string>;
  /** Brings the named services up, or all that can be, and waits until each is healthy. */
  up(...args: string[]): Promise<void>;
  /** Ids of a service's containers. */
  containers(service: string): Promise<string[]>;
  /** Runs a shell command in a service's first container. */
  shell(service: string, command: string): Promise<string>;
  /** Asks the Agent API, as admin: its answer, or its problem. */
  ask<T>(path: string, body?: unknown): Promise<T>;
  query(expression: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = {
  overlays?: string[];
  settings?: Record<string, string>;
  /** A secret that is left out. */
  without?: string;
};

/** A .env as the README has it made: the example, and secrets behind it. */
export async function writeEnvironment(file: string, settings: Record<string, string>): Promise<void> {
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(file, `${await readFile('.env.example', 'utf8')}\n${lines.join('')}`);
}

/** Prepares the stack, and starts nothing. Disposing it removes containers, networks and volumes. */
export async function openStack({ overlays = [], settings = {}, without }: Options = {}): Promise<Stack> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const name = `toka-test-${randomBytes(3).toString('hex')}`;
  const ports = { PORT: await freePort(), MANAGEMENT_PORT: await freePort(), PROMETHEUS_PORT: await freePort() };
  const file = join(folder, 'env');
  const all: Record<string, string> = {
    JWT_SECRET: madeSecret() + madeSecret(),
    REDIS_PASSWORD: madeSecret(),
    GRAFANA_PASSWORD: madeSecret(),
    GRAFANA_PORT: String(await freePort()),
    ...Object.fromEntries(Object.entries(ports).map(([key, port]) => [key, String(port)])),
    TOKA_VERSION: 'test',
    AGENT_POOL_SIZE: '3',
    ...settings,
  };
  if (without) delete all[without];
  await writeEnvironment(file, all);
  const files = ['compose.yaml', ...overlays].flatMap((each) => ['-f', each]);
  const compose = (...args: string[]) => docker('compose', '-p', name, '--env-file', file, ...files, ...args);
  const config: ComposeConfig = JSON.parse(await compose('config', '--format', 'json'));
  const missing: string[] = [];
  for (const [service, { image }] of Object.entries(config.services))
    if (!image.startsWith('toka:') && !(await isThere(image))) missing.push(service);
  const services = Object.keys(config.services).filter(
    (each) => !missing.includes(each) && each !== 'check-settings' && each !== 'set-up-nats',
  );
  stack.defer(async () => void (await compose('down', '--volumes', '--timeout', '0')));

  const scheme = overlays.some((each) => each.includes('tls')) ? 'https' : 'http';
  const api = `${scheme}://localhost:${ports.PORT}`;
  const prometheus = `http://localhost:${ports.PROMETHEUS_PORT}`;
  let token = '';
  const owned = stack.move();
  return {
    name,
    api,
    management: `${scheme}://localhost:${ports.MANAGEMENT_PORT}`,
    prometheus,
    services,
    missing,
    config,
    compose,
    async up(...args) {
      const some = args.some((each) => services.includes(each)) ? [] : services;
      await compose('up', '-d', '--wait', ...args, ...some);
    },
    containers: async (service) => (await compose('ps', '-q', service)).split('\n').filter(Boolean),
    shell: (service, command) => compose('exec', '-T', service, 'sh', '-c', command),
    async ask<T>(path: string, body?: unknown): Promise<T> {
      token ||= await compose('exec', '-T', 'gateway', 'node', 'shared/dev/toka.ts', 'token');
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const init = body === undefined ? { headers } : { headers, method: 'POST', body: JSON.stringify(body) };
      const answer = await eventually(async () => {
        const response = await fetch(`${api}${path}`, init);
        if (response.status >= 500) throw new Error(`${response.status}: ${await response.text()}`);
        return (await response.json()) as object;
      });
      return answer as T;
    },
    async query(expression) {
      const response = await fetch(`${prometheus}/api/v1/query`, {
        method: 'POST',
        body: new URLSearchParams({ query: expression }),
      });
      const { status, data, error } = (await response.json()) as {
        status: string;
        error?: string;
        data: { resultType: string; result: never };
      };
      if (status !== 'success') throw new Error(`${expression}: ${error}`);
      return data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
