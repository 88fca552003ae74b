import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '#test/helpers/eventually.ts';

export type Memory = { pid: number; heapUsed: number; external: number; rss: number };

/** A service that ended though nobody made it. */
export type Crash = { name: string; code: number | null; signal: string | null; said: string };

/** One instance of a service, which is started again whenever it ends, as a container is. */
export type Process = {
  name: string;
  pid(): number | undefined;
  /** What this start of it is called in events. */
  instance(): string;
  isUp(): boolean;
  /** Brings it up, and keeps it up. Resolves once it is ready. */
  start(): Promise<void>;
  /** Ends it, and leaves it so until `start`. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  setClock(offsetMs: number): Promise<void>;
  /** When it could not run though it wanted to, so far. */
  stalls(): { fromMs: number; untilMs: number }[];
  /** After a collection of garbage. */
  memory(): Promise<Memory>;
};

type Options = {
  /** Where the project's sources are. */
  root: string;
  service: string;
  name: string;
  folder: string;
  env: Record<string, string>;
  onCrash(crash: Crash): void;
};

const witness = fileURLToPath(new URL('witness.ts', import.meta.url));
const againMs = 500;
const endMsMax = 60_000;

export function createProcess({ root, service, name, folder, env, onCrash }: Options): Process {
  const file = (kind: string) => join(folder, `${name}.${kind}`);
  let child: ChildProcess | undefined;
  let isWanted = false;
  let isReady = false;
  let starts = 0;
  /** Who waits for a start that was ended before it was ready waits no longer. */
  let ready = () => {};

  const open = () => {
    starts += 1;
    const own = fork(join(root, `services/${service}/main.ts`), {
      cwd: root,
      env: {
        ...env,
        INSTANCE: `${name}-${starts}`,
        CHAOS_CLOCK: file('clock'),
        CHAOS_MEMORY: file('memory'),
        CHAOS_STALLS: file('stalls'),
      },
      execArgv: ['--disable-warning=ExperimentalWarning', '--expose-gc', '--import', witness],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    child = own;
    isReady = false;
    const log = createWriteStream(file('log'), { flags: 'a' });
    own.stdout?.pipe(log, { end: false });
    own.stderr?.pipe(log, { end: false });
    own.once('message', () => {
      isReady = true;
      ready();
    });
    own.once('exit', (code, signal) => {
      const wasReady = isReady;
      isReady = false;
      log.end();
      if (!isWanted || child !== own) return;
      // Who cannot start yet, for others are away, says so and ends: that is no crash.
      if (wasReady || code !== 1)
        onCrash({ name, code, signal, said: readFileSync(file('log'), 'utf8').slice(-1_500) });
      setTimeout(() => (isWanted && child === own ? open() : undefined), againMs);
    });
  };

  return {
    name,
    pid: () => child?.pid,
    instance: () => `${name}-${starts}`,
    isUp: () => isReady,
    start() {
      isWanted = true;
      return new Promise((resolve) => {
        ready = resolve;
        open();
      });
    },
    async end(signal) {
      isWanted = false;
      ready();
      const own = child;
      if (!own || own.exitCode !== null || own.signalCode !== null) return;
      const gone = once(own, 'exit');
      own.kill('SIGCONT');
      own.kill(signal);
      const late = setTimeout(() => {
        onCrash({ name, code: null, signal: null, said: `it had not ended ${endMsMax / 1000} s after ${signal}` });
        own.kill('SIGKILL');
      }, endMsMax);
      await gone;
      clearTimeout(late);
    },
    signal: (signal) => void child?.kill(signal),
    setClock: (offsetMs) => writeFile(file('clock'), String(offsetMs)),
    stalls: () =>
      existsSync(file('stalls'))
        ? readFileSync(file('stalls'), 'utf8')
            .split('\n')
            .filter((line) => line.endsWith('}'))
            .map((line) => JSON.parse(line))
        : [],
    async memory() {
      await rm(file('memory'), { force: true });
      child?.kill('SIGUSR2');
      return eventually(async () => JSON.parse(await readFile(file('memory'), 'utf8')) as Memory, 10_000);
    },
  };
}

/** Of each service. */
export async function memoryOf(processes: ReadonlyMap<string, Process>): Promise<Map<string, Memory>> {
  const all = await Promise.all(
    [...processes].map(async ([name, process]) => [name, await process.memory().catch(() => undefined)] as const),
  );
  return new Map(all.flatMap(([name, memory]) => (memory ? [[name, memory] as const] : [])));
}
