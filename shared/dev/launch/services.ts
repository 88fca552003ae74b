import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Failure } from '#shared/errors.ts';
import type { ServiceName } from '#shared/service.ts';
import type { Environment } from './environment.ts';
import { environmentOf } from './environment.ts';
import type { Home } from './home.ts';
import type { Kept } from './keep-alive.ts';
import { keepAlive } from './keep-alive.ts';
import type { LogFile } from './log-file.ts';
import { plain } from './words.ts';

const readyMsMax = 60_000;
const stopMsMax = 40_000;
const quickDeathsMax = 5;

export type Service = Kept & { name: ServiceName };

type Reports = {
  /** A line for the person at the terminal. */
  say(line: string): void;
  /** It cannot be kept alive. */
  lost(reason: string): void;
  /** Whether something that services need is away: then it is no fault of theirs that they end. */
  isExcused(): boolean;
};

/** Keeps a service running as a process of its own. */
export async function startService(
  name: ServiceName,
  home: Home,
  all: Environment,
  { say, lost, isExcused }: Reports,
): Promise<Service> {
  const threads = all.WORKER_THREADS ?? all.TOKIO_WORKER_THREADS;
  const env = { ...(await environmentOf(name, all)), ...(threads ? { UV_THREADPOOL_SIZE: threads } : {}) };
  const log = home.log(name);
  const file = fileURLToPath(new URL(`../../../services/${name}/main.ts`, import.meta.url));
  let deaths = 0;
  const kept = await keepAlive(name, {
    async begin(spawned) {
      const child = fork(file, {
        env,
        detached: true,
        execArgv: ['--disable-warning=ExperimentalWarning'],
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      spawned(child);
      if (child.pid !== undefined) home.note(name, child.pid);
      await ready(child, name, pass(child, name, log, say));
    },
    stopMsMax,
    say,
    failed(times) {
      deaths = isExcused() ? 0 : Math.min(deaths + 1, times);
      if (deaths >= quickDeathsMax) lost(`${name} died ${deaths} times in a row; see its log`);
    },
  });
  return { name, ...kept };
}

/** Sends a child's output to its log, and what needs a person to the terminal. Answers what it said last on stderr. */
function pass(child: ChildProcess, name: string, log: LogFile, say: (line: string) => void): () => string {
  const errors: string[] = [];
  const lines = (stream: NodeJS.ReadableStream | null, each: (line: string) => void) => {
    if (!stream) return;
    createInterface({ input: stream }).on('line', (line) => {
      log.write(line);
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
