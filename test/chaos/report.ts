import type { Violation } from './checks/evidence.ts';
import type { Fault, Kind } from './plan.ts';

export type Summary = {
  seed: number;
  minutes: number;
  agents: number;
  kinds: readonly Kind[];
  plant: string | null;
  /** How long it took until something was found to be wrong. */
  foundMs: number | null;
  seconds: number;
  folder: string;
  /** Faults that this user could not do. */
  missing: readonly string[];
  plan: readonly Fault[];
  violations: readonly Violation[];
  figures: Record<string, number>;
};

/** What must hold; each has its line in the table, also when nothing is wrong. */
export const checks = [
  'what is taken is done',
  'a run ends once',
  'a run ends well',
  'a work is queued once',
  'only its runner writes',
  'a run stays with its runner',
  'a call has one result',
  'work is done once',
  'no recorded call is repeated',
  'recorded answers were asked',
  'limits hold upstream',
  'the log is kept',
  'SQLite equals the stream',
  'the hash chain holds',
  'checkpoints hold',
  'nothing is left over',
  'memory is back',
  'NATS refuses no service',
  'no service ends by itself',
  'no service logs a bug',
] as const;

const width = Math.max(...checks.map((check) => check.length));

/** The summary for people. */
export function table({ violations, figures, plan, kinds, missing, ...run }: Summary): string {
  const found = new Set([...checks, ...violations.map(({ check }) => check)]);
  const lines = [...found].map((check) => {
    const count = violations.filter((each) => each.check === check).length;
    return `  ${check.padEnd(width)}  ${count === 0 ? 'holds' : `${count} VIOLATION${count === 1 ? '' : 'S'}`}`;
  });
  const done = kinds.map((kind) => `${kind} ${plan.filter((fault) => fault.kind === kind).length}`).join(', ');
  const numbers = Object.entries(figures).map(
    ([name, value]) => `  ${name.padEnd(width)}  ${value.toLocaleString('en')}`,
  );
  return [
    '',
    `seed ${run.seed}, ${run.minutes} minutes, ${run.agents} agents${run.plant ? `, with the bug ${run.plant}` : ''}; it took ${run.seconds} s`,
    `faults planned: ${done}${missing.length > 0 ? `; left out: ${missing.join(', ')}` : ''}`,
    ...lines,
    '',
    ...numbers,
    ...(run.foundMs === null
      ? []
      : ['', `${run.plant ? 'the bug' : 'the first violation'} was found after ${(run.foundMs / 1000).toFixed(0)} s`]),
    `logs, plan and databases: ${run.folder}`,
    '',
  ].join('\n');
}
