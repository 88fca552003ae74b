import type { Measured } from './batch.ts';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle) - 1] ?? 0)) / 2;
}

const widths = [20, 9, 8, 11];

/** A line of the table; without a measurement, its head. */
export function row(name = '', measured?: Measured): string {
  const cells = measured
    ? [
        name,
        whole(measured.turns / measured.seconds),
        whole(measured.runs / measured.seconds),
        measured.records === null ? '-' : whole(measured.records / measured.seconds),
      ]
    : ['', 'turns/s', 'runs/s', 'records/s'];
  const line = cells.map((cell, index) =>
    index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0),
  );
  return `  ${line.join(' ')}   ${measured ? cpuOf(measured) : 'processor ms a turn'}`;
}

export const rule = (title: string) => `-- ${title} ${'-'.repeat(Math.max(0, 80 - title.length))}`;

const whole = (value: number) => Math.round(value).toLocaleString('en');

const cpuOf = ({ cpuMs, turns }: Measured) =>
  Object.entries(cpuMs)
    .map(([kind, ms]) => `${kind} ${(ms / turns).toFixed(2)}`)
    .join(', ');

/** The medians of several rounds of the same. */
export function summed(list: readonly Measured[]) {
  const rate = (of: (each: Measured) => number) => Math.round(median(list.map((each) => of(each) / each.seconds)));
  const kinds = Object.keys(list[0]?.cpuMs ?? {});
  return {
    turnsPerSecond: rate(({ turns }) => turns),
    runsPerSecond: rate(({ runs }) => runs),
    recordsPerSecond: list.some(({ records }) => records === null) ? null : rate(({ records }) => records ?? 0),
    cpuMsPerTurn: Object.fromEntries(
      kinds.map((kind) => [
        kind,
        Number(median(list.map(({ cpuMs, turns }) => (cpuMs[kind] ?? 0) / turns)).toFixed(3)),
      ]),
    ),
  };
}
