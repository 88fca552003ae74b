import type { Name } from './contender.ts';
import type { PhaseName } from './phases.ts';
import type { Results } from './results.ts';
import { compare, cpuUs, medianOf, rate } from './results.ts';

export type Goal = {
  what: string;
  unit: string;
  wanted: number;
  /** Whether more is better, or less. */
  atLeast: boolean;
  /** Undefined: not measured, so not met. */
  got: number | undefined;
  met: boolean;
};

/** What is wanted of Toka's proxy, and what it has come to. */
export function goalsOf(results: Results, peakMiB: number | undefined): Goal[] {
  const atLeast = (what: string, wanted: number, got: number | undefined): Goal => ({
    ...{ what, unit: 'times', wanted, atLeast: true, got },
    met: got !== undefined && got >= wanted,
  });
  const atMost = (what: string, wanted: number, unit: string, got: number | undefined): Goal => ({
    ...{ what, unit, wanted, atLeast: false, got },
    met: got !== undefined && got <= wanted,
  });
  const times = (phase: PhaseName, other: Name, otherPhase = phase) =>
    compare(
      results,
      [
        [phase, 'toka'],
        [otherPhase, other],
      ],
      rate,
      (own, others) => own / others,
    );
  const added = (phase: PhaseName, figure: 'p50Ms' | 'firstP50Ms') =>
    compare(
      results,
      [
        [phase, 'toka'],
        [phase, 'direct'],
      ],
      (each) => each[figure],
      (own, direct) => own - direct,
    );
  return [
    atLeast("uncached requests/s to Portkey's, 32 connections", 8, times('uncached32', 'portkey')),
    atLeast("uncached requests/s to Portkey's, 256 connections", 8, times('uncached256', 'portkey')),
    atLeast("uncached requests/s to the bare proxy's, 32 connections", 0.5, times('uncached32', 'bare')),
    atLeast("uncached requests/s to the bare proxy's, 256 connections", 0.5, times('uncached256', 'bare')),
    atLeast('cached requests/s to uncached, 32 connections', 1.5, times('cached32', 'toka', 'uncached32')),
    // 10,000 a second where the bare proxy makes 12,000.
    atLeast(
      "cached requests/s to the bare proxy's uncached, 256 connections",
      0.83,
      times('cached256', 'bare', 'uncached256'),
    ),
    atMost('processor time of a request, 32 connections', 120, 'us', medianOf(results, 'uncached32', 'toka', cpuUs)),
    atMost('processor time of a request, 256 connections', 120, 'us', medianOf(results, 'uncached256', 'toka', cpuUs)),
    atMost('added to the median request, 1 connection', 0.5, 'ms', added('uncached1', 'p50Ms')),
    atMost("added to a stream's median first byte", 1, 'ms', added('stream1', 'firstP50Ms')),
    atMost("the same where a stream's other events come later", 1, 'ms', added('late1', 'firstP50Ms')),
    atMost('peak memory', 300, 'MiB', peakMiB),
  ];
}

export function goalLine({ what, unit, wanted, atLeast, got, met }: Goal): string {
  const bound = `wanted: at ${atLeast ? 'least' : 'most'} ${wanted}`;
  const value = got === undefined ? 'NOT MEASURED' : `${got.toFixed(2)} ${unit}`;
  return `  ${what.padEnd(68)} ${value.padStart(13)}   (${bound}: ${met ? 'met' : 'NOT MET'})`;
}
