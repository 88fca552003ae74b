import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { z } from 'zod';
import { end } from '../runner/process.ts';

const readyMsMax = 15_000;
const Reply = z.union([z.object({ answer: z.unknown() }), z.object({ error: z.string() })]);
const Ready = z.object({ port: z.number().int().default(0) });

export type Worker = {
  pid: number;
  /** Where it listens; 0 if it does not. */
  port: number;
  /** One question at a time. Rejects with what the worker could not do, and where it says nothing for `msMax`. */
  ask<S extends z.ZodType>(question: object, reply: S, msMax: number): Promise<z.output<S>>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A module of the bench as a process of its own, ready once it has said where it listens. */
export async function startWorker(file: string, args: string[] = []): Promise<Worker> {
  await using stack = new AsyncDisposableStack();
  const child = fork(file, args, {
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production' },
    stdio: ['ignore', process.stderr, 'inherit', 'ipc'],
  });
  stack.defer(() => end(child));
  const { port } = Ready.parse(await messageOf(child, file, readyMsMax));
  const owned = stack.move();
  return {
    pid: child.pid ?? 0,
    port,
    async ask(question, reply, msMax) {
      child.send(question);
      const said = Reply.parse(await messageOf(child, file, msMax));
      if ('error' in said) throw new Error(said.error);
      return reply.parse(said.answer);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function messageOf(child: ChildProcess, file: string, msMax: number): Promise<unknown> {
  if (child.exitCode !== null) throw new Error(`${file} has ended with ${child.exitCode}`);
  const over = new AbortController();
  try {
    const [message] = await Promise.race([
      once(child, 'message', { signal: AbortSignal.any([over.signal, AbortSignal.timeout(msMax)]) }),
      once(child, 'exit', { signal: over.signal }).then(([code]) => {
        throw new Error(`${file} ended with ${code}`);
      }),
    ]);
    return message;
  } catch (error) {
    if (error instanceof Error && error.name === 'AbortError') throw new Error(`${file} said nothing for ${msMax} ms`);
    throw error;
  } finally {
    over.abort();
  }
}
