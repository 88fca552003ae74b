import { median } from '../runner/table.ts';
import type { Name } from './contender.ts';
import type { Measured } from './job.ts';
import type { PhaseName } from './phases.ts';

/** What each contender had in each phase, by round; undefined where it could not be measured. */
export type Results = { [phase in PhaseName]?: { [name in Name]?: (Measured | undefined)[] } };

export type Figure = (measured: Measured) => number;

export const rate: Figure = ({ requests, seconds }) => requests / seconds;
/** Processor microseconds of the gateway for each request. */
export const cpuUs: Figure = ({ cpuMs, requests }) => ((cpuMs.gateway ?? Number.NaN) * 1000) / requests;
/** How much of a core the gateway used. */
export const busy: Figure = ({ cpuMs, seconds }) => (cpuMs.gateway ?? Number.NaN) / (seconds * 1000);

/** The median over the rounds in which it could be measured. */
export function medianOf(results: Results, phase: PhaseName, name: Name, figure: Figure): number | undefined {
  return some((results[phase]?.[name] ?? []).flatMap((each) => (each ? [figure(each)] : [])));
}

type Side = readonly [PhaseName, Name];

/** The median of what two sides of the same round make of each other. */
export function compare(
  results: Results,
  [left, right]: readonly [Side, Side],
  figure: Figure,
  how: (left: number, right: number) => number,
): number | undefined {
  const others = results[right[0]]?.[right[1]] ?? [];
  const each = (results[left[0]]?.[left[1]] ?? []).flatMap((own, round) => {
    const other = others[round];
    return own && other ? [how(figure(own), figure(other))] : [];
  });
  return some(each);
}

const some = (values: number[]) => (values.length > 0 ? median(values) : undefined);
