import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#shared/errors.ts';
import { endChild } from './processes.ts';

const restartMs = 200;
const restartMsMax = 10_000;
const quickMs = 10_000;
const restartGraceMs = 3_000;

/** A program that is started again whenever it ends. */
export type Kept = {
  /** Ends it and starts it again, at once. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  kill(): void;
};

type Options = {
  /** Starts it, and resolves once it is ready; `spawned` is told of the process before. */
  begin(spawned: (child: ChildProcess) => void): Promise<void>;
  stopMsMax: number;
  /** A line for the person at the terminal. */
  say(line: string): void;
  /** Hears each time how often in a row it has ended soon after its start, or could not be started. */
  failed?(times: number): void;
};

/** Starts a program and keeps it: one that ends is started again, a little later each time. Throws where the first start fails. */
export async function keepAlive(name: string, { begin, stopMsMax, say, failed }: Options): Promise<Kept> {
  let child: ChildProcess | undefined;
  let isTold = false;
  let failures = 0;
  let startedMs = 0;
  let said = '';
  const stopping = new AbortController();
  const { signal } = stopping;
  const start = async () => {
    startedMs = performance.now();
    await begin((each) => {
      child = each;
    });
  };
  const fail = () => {
    failures += 1;
    failed?.(failures);
  };
  /** Tries until it is up, or to be stopped. */
  const startAgain = async (): Promise<void> => {
    if (!isTold) await delay(Math.min(restartMs * 2 ** failures, restartMsMax), undefined, { signal }).catch(() => {});
    isTold = false;
    if (signal.aborted) return;
    try {
      await start();
      said = '';
    } catch (error) {
      if (signal.aborted) return;
      // The same again and again is said once.
      if (messageOf(error) !== said) say(`! ${messageOf(error)}`);
      said = messageOf(error);
      fail();
      return startAgain();
    }
  };
  await start();
  void (async () => {
    while (!signal.aborted) {
      const how = await endOf(child);
      if (signal.aborted) return;
      if (!isTold) {
        say(`! ${name} ended with ${how}; it is started again`);
        if (performance.now() - startedMs < quickMs) fail();
        else failures = 0;
      }
      await startAgain();
    }
  })();
  return {
    async restart() {
      isTold = true;
      if (child) await endChild(child, restartGraceMs);
    },
    async stop() {
      stopping.abort();
      if (child) await endChild(child, stopMsMax);
    },
    kill() {
      stopping.abort();
      child?.kill('SIGKILL');
    },
  };
}

async function endOf(child: ChildProcess | undefined): Promise<string> {
  if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child?.signalCode ?? `code ${child?.exitCode}`;
}
