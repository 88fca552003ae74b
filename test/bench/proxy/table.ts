import type { Name } from './contender.ts';
import { names } from './contender.ts';
import type { Measured } from './job.ts';
import { events } from './messages.ts';
import type { Phase, PhaseName } from './phases.ts';
import { phaseNames, phases } from './phases.ts';
import type { Figure, Results } from './results.ts';
import { busy, cpuUs, medianOf, rate } from './results.ts';

const widths = [10, 9, 8, 8, 9, 9, 6];

/** The head of the table of one phase. */
export const head = ({ title, kind }: Phase): string =>
  `${title}\n${line(['', 'req/s', 'p50 ms', 'p99 ms', 'first ms', isStream(kind) ? 'us/event' : 'us/req', 'busy'])}`;

/** One contender in one phase: the gateway's processor time, and beside it that of the other processes, for each request or event. */
export function row(name: Name, { kind }: Phase, measured: Measured): string {
  const { p50Ms, p99Ms, firstP50Ms, cpuMs, requests } = measured;
  const units = requests * (isStream(kind) ? events : 1);
  const beside = Object.entries(cpuMs).flatMap(([what, ms]) =>
    what === 'gateway' ? [] : [`${what} ${((ms * 1000) / units).toFixed(0)}`],
  );
  const own = cpuMs.gateway === undefined ? '-' : ((cpuMs.gateway * 1000) / units).toFixed(1);
  const share = cpuMs.gateway === undefined ? '-' : `${(busy(measured) * 100).toFixed(0)} %`;
  const cells = [name, whole(rate(measured)), p50Ms.toFixed(2), p99Ms.toFixed(2), firstP50Ms.toFixed(2), own, share];
  return `${line(cells)}   ${beside.join(', ')}`;
}

const line = (cells: string[]) =>
  `  ${cells.map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0))).join(' ')}`;
const isStream = (kind: Phase['kind']) => kind === 'stream' || kind === 'late-stream';
const whole = (value: number) => Math.round(value).toLocaleString('en');

export type Medians = { [phase in PhaseName]?: { [name in Name]?: Record<string, number | null> } };

/** The medians over the rounds, for the line that programs read. */
export function mediansOf(results: Results): Medians {
  const figures: Record<string, Figure> = {
    requestsPerSecond: rate,
    p50Ms: ({ p50Ms }) => p50Ms,
    p99Ms: ({ p99Ms }) => p99Ms,
    firstByteP50Ms: ({ firstP50Ms }) => firstP50Ms,
    cpuUsPerRequest: cpuUs,
    busy,
  };
  const medians: Medians = {};
  for (const phase of phaseNames) {
    for (const name of names) {
      if (!results[phase]?.[name]?.some((each) => each)) continue;
      const own = Object.entries(figures).map(([what, figure]) => {
        const value = medianOf(results, phase, name, figure);
        return [what, value === undefined || Number.isNaN(value) ? null : Number(value.toPrecision(4))] as const;
      });
      medians[phase] = { ...medians[phase], [name]: Object.fromEntries(own) };
    }
  }
  return medians;
}

/** The medians as a table. */
export function medianLines(medians: Medians): string[] {
  return phaseNames.flatMap((phase) => {
    const rows = names.flatMap((name) => {
      const own = medians[phase]?.[name];
      if (!own) return [];
      const { requestsPerSecond, p50Ms, p99Ms, firstByteP50Ms, cpuUsPerRequest, busy: share } = own;
      const us =
        typeof cpuUsPerRequest === 'number' ? cpuUsPerRequest / (isStream(phases[phase].kind) ? events : 1) : null;
      const fixed = (value: number | null | undefined, digits: number) => value?.toFixed(digits) ?? '-';
      const rest = [
        fixed(p50Ms, 2),
        fixed(p99Ms, 2),
        fixed(firstByteP50Ms, 2),
        fixed(us, 1),
        typeof share === 'number' ? `${(share * 100).toFixed(0)} %` : '-',
      ];
      return [line([name, whole(requestsPerSecond ?? 0), ...rest])];
    });
    return rows.length > 0 ? [head(phases[phase]), ...rows] : [];
  });
}
