import { z } from 'zod';
import { Killed } from '#shared/contracts/events.ts';

// What the runner and the executor in its sandbox say to each other: HTTP/2 over one connection, the executor being the server.
// HTTP/2 brings streams side by side, each with its own flow control, and cancellation. Everything that the executor says is
// parsed and bounded by the runner: it may have been taken over by what it runs.

export const deliverableBytesMax = 10 * 1024 ** 2;
export const imageBytesMax = 5 * 1024 ** 2;
export const textCharsMax = 200_000;
/** A deliverable in base64, and the rest. */
export const answerBytesMax = 16 * 1024 ** 2;
/** A bundle of a workspace, a diff, or the files that a run keeps. */
export const bundleBytesMax = 256 * 1024 ** 2;

/** The port on which a sandbox's processes find their way out; the executor hands each connection on. */
export const proxyPort = 3128;

export const paths = {
  start: '/start',
  call: '/call',
  egress: '/egress',
  process: '/process',
  quiet: '/quiet',
  base: '/workspace/base',
  snapshot: '/workspace/snapshot',
  restore: '/workspace/restore',
  close: '/workspace/close',
  diff: '/workspace/diff',
  bundle: '/workspace/bundle',
  file: '/workspace/file',
} as const;

export const Start = z.object({
  /** Whether connections to the proxy's port are passed on. */
  network: z.boolean(),
  branch: z.string(),
  author: z.string(),
  processesMax: z.number().int().positive(),
  fileBytesMax: z.number().int().positive(),
});
export type Start = z.infer<typeof Start>;

export const Question = z.object({ tool: z.string(), args: z.unknown(), timeoutMs: z.number().positive() });
export type Question = z.infer<typeof Question>;

export const Answered = z.object({
  isError: z.boolean(),
  text: z.string(),
  killed: Killed.optional(),
  /** Processor seconds of the executor and of all that it started since its own start, and most memory at a time where a cgroup tells. */
  cpuSeconds: z.number().nonnegative(),
  peakBytes: z.number().nonnegative(),
  image: z
    .object({
      mediaType: z.enum(['image/png', 'image/jpeg', 'image/gif', 'image/webp']),
      base64: z.string().max(Math.ceil(imageBytesMax / 3) * 4),
    })
    .optional(),
  deliverable: z
    .object({
      base64: z.string().max(Math.ceil(deliverableBytesMax / 3) * 4),
      mediaType: z.string().regex(/^[a-z]+\/[a-z0-9.+-]{1,60}$/),
      summary: z.string().min(1).max(2000),
      path: z.string().max(4096).optional(),
    })
    .optional(),
});
export type Answered = z.infer<typeof Answered>;

const commit = z.string().regex(/^[0-9a-f]{40}$/);

/** What the workspace has come to. */
export const Closed = z.object({
  head: commit.nullable(),
  commits: z.number().int().nonnegative(),
  changed: z.boolean(),
  files: z.array(z.object({ path: z.string().max(4096), bytes: z.number().int().nonnegative() })).max(200),
});
export type Closed = z.infer<typeof Closed>;

export const Process = z.object({
  command: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()),
  /** Whether it starts in an empty folder of its own, which is its home, too, and which no other process here may open. */
  apart: z.boolean().optional(),
});
export type Process = z.infer<typeof Process>;
