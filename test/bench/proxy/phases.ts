import type { Name } from './contender.ts';
import { names } from './contender.ts';
import type { Kind } from './messages.ts';

export type Phase = { title: string; kind: Kind; connections: number; of: readonly Name[] };

/** What is measured in each round, in this order. */
export const phases = {
  uncached32: { title: 'uncached, 32 connections', kind: 'answer', connections: 32, of: names },
  uncached256: { title: 'uncached, 256 connections', kind: 'answer', connections: 256, of: names },
  uncached1: { title: 'uncached, 1 connection', kind: 'answer', connections: 1, of: names },
  cached32: { title: 'cached, 32 connections', kind: 'cached', connections: 32, of: ['toka'] },
  cached256: { title: 'cached in the process, 256 connections', kind: 'cached', connections: 256, of: ['toka'] },
  stream32: { title: 'streams, 32 connections', kind: 'stream', connections: 32, of: names },
  stream1: { title: 'streams, 1 connection', kind: 'stream', connections: 1, of: names },
  late1: {
    title: 'streams whose other events come later, 1 connection',
    kind: 'late-stream',
    connections: 1,
    of: names,
  },
} as const satisfies Record<string, Phase>;

export type PhaseName = keyof typeof phases;
export const phaseNames = Object.keys(phases).filter((name): name is PhaseName => name in phases);
