import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Failure } from '#shared/errors.ts';
import type { ServiceName } from '#shared/service.ts';
import type { Environment } from './environment.ts';
import { environmentOf } from './environment.ts';
import type { Home } from './home.ts';
import { endChild } from './processes.ts';
import { plain } from './words.ts';

const readyMsMax = 60_000;
const stopMsMax = 40_000;
const restartMsMax = 10_000;
const quickDeathsMax = 5;
const quickMs = 10_000;

export type Service = { name: ServiceName; stop(): Promise<void>; kill(): void };

type Reports = {
  /** A line for the person at the terminal. */
  say(line: string): void;
  /** It cannot be kept alive. */
  lost(reason: string): void;
};

/** Keeps a service running as a process of its own: one that dies is started again, a little later each time. */
export async function startService(
  name: ServiceName,
  home: Home,
  all: Environment,
  reports: Reports,
): Promise<Service> {
  const threads = all.WORKER_THREADS ?? all.TOKIO_WORKER_THREADS;
  const env = { ...(await environmentOf(name, all)), ...(threads ? { UV_THREADPOOL_SIZE: threads } : {}) };
  const log = createWriteStream(home.logFile(name), { flags: 'w', mode: 0o600 });
  let stopping = false;
  let child: ChildProcess;
  let quickDeaths = 0;

  const begin = async () => {
    const startedMs = Date.now();
    const file = fileURLToPath(new URL(`../../../services/${name}/main.ts`, import.meta.url));
    child = fork(file, {
      env,
      detached: true,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    if (child.pid !== undefined) home.note(name, child.pid);
    const last = pass(child, name, log, reports.say);
    await ready(child, name, last);
    child.once('exit', (code, signal) => {
      if (stopping) return;
      quickDeaths = Date.now() - startedMs < quickMs ? quickDeaths + 1 : 0;
      reports.say(`! ${name} ended with ${signal ?? code}; it is started again`);
      void again();
    });
  };
  const again = async () => {
    if (quickDeaths >= quickDeathsMax) return reports.lost(`${name} died ${quickDeaths} times in a row; see its log`);
    await delay(Math.min(200 * 2 ** quickDeaths, restartMsMax));
    if (stopping) return;
    await begin().catch((error: Error) => {
      quickDeaths += 1;
      reports.say(`! ${error.message}`);
      return again();
    });
  };
  await begin();

  return {
    name,
    async stop() {
      stopping = true;
      await endChild(child, stopMsMax);
    },
    kill() {
      stopping = true;
      child.kill('SIGKILL');
    },
  };
}

/** Sends a child's output to its log, and what needs a person to the terminal. Answers what it said last on stderr. */
function pass(
  child: ChildProcess,
  name: string,
  log: NodeJS.WritableStream,
  say: (line: string) => void,
): () => string {
  const errors: string[] = [];
  const lines = (stream: NodeJS.ReadableStream | null, each: (line: string) => void) => {
    if (!stream) return;
    createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      each(line);
    });
  };
  lines(child.stdout, (line) => {
    const told = worthTelling(line);
    if (told) say(`! ${name}: ${told}`);
  });
  lines(child.stderr, (line) => {
    errors.push(line);
    if (errors.length > 20) errors.shift();
  });
  return () => errors.join('\n');
}

function worthTelling(line: string): string | undefined {
  try {
    const { level, msg } = JSON.parse(line);
    return (level === 'error' || level === 'fatal') && typeof msg === 'string' ? plain(msg, 400) : undefined;
  } catch {
    return undefined;
  }
}

async function ready(child: ChildProcess, name: string, last: () => string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => reject(new Failure('timeout', `${name} was not ready in ${readyMsMax / 1000} s`)),
    readyMsMax,
  );
  child.once('message', () => resolve());
  // `close` comes once its output has been read to the end.
  child.once('close', (code, signal) =>
    reject(new Failure('unavailable', last() || `${name} ended with ${signal ?? code}`)),
  );
  child.once('error', reject);
  try {
    await promise;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
