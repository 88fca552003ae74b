import { Cron } from 'croner';
import { AgentSpec, timetableOf } from './contracts/agent.ts';
import { messageOf } from './errors.ts';
import type { Located, Path } from './field-problems.ts';
import { describe, didYouMean } from './field-problems.ts';

/** One agent, checked as POST /agents checks it: by its schema, its cron line, and the order of its own objectives. */
export function parseAgent(entry: unknown): { spec?: AgentSpec; problems: Located[] } {
  const parsed = AgentSpec.safeParse(entry);
  if (!parsed.success) return { problems: parsed.error.issues.flatMap((issue) => describe(issue, AgentSpec, entry)) };
  const problems = [...objectiveProblems(parsed.data), ...scheduleProblems(parsed.data)];
  return problems.length > 0 ? { problems } : { spec: parsed.data, problems };
}

function scheduleProblems(spec: AgentSpec): Located[] {
  const timetable = timetableOf(spec);
  if (!timetable) return [];
  const problems: Located[] = [];
  const at = (field: string): Path => (typeof spec.schedule === 'string' ? ['schedule'] : ['schedule', field]);
  const fault = cronFault(timetable.cron);
  if (fault !== undefined) problems.push({ path: at('cron'), message: fault });
  if (!isTimeZone(timetable.timezone))
    problems.push({ path: at('timezone'), message: 'is no time zone such as "Europe/Berlin" or "UTC"' });
  return problems;
}

function cronFault(line: string): string | undefined {
  try {
    const next = new Cron(line, { mode: '5-part', timezone: 'UTC', paused: true }).nextRun();
    return next === null ? 'never comes: no date is like that' : undefined;
  } catch (error) {
    const detail = messageOf(error).replace(/^CronPattern: /, '');
    return `is no cron line such as "0 6 * * 1-5" (minute hour day month weekday): ${detail}`;
  }
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function objectiveProblems({ objectives }: AgentSpec): Located[] {
  const ids = objectives.map(({ id }, index) => id ?? `objective-${index + 1}`);
  const problems: Located[] = [];
  for (const [index, id] of ids.entries()) {
    if (ids.indexOf(id) < index)
      problems.push({
        path: ['objectives', index, 'id'],
        message: `"${id}" is used twice; ids are unique within an agent`,
      });
    for (const [at, name] of (objectives[index]?.depends_on ?? []).entries()) {
      if (!ids.includes(name))
        problems.push({
          path: ['objectives', index, 'depends_on', at],
          message: `there is no objective "${name}"${didYouMean(ids, name)}`,
        });
    }
  }
  const cycle = findCycle(new Map(ids.map((id, index) => [id, objectives[index]?.depends_on ?? []])));
  if (cycle)
    problems.push({
      path: ['objectives', ids.indexOf(cycle[0] ?? ''), 'depends_on'],
      message: `goes round in a circle: ${cycle.join(' → ')}`,
    });
  return problems;
}

/** Names that agents wait for and nobody has, and circles among them. `known`: agents that exist beside these. */
export function graphProblems(
  specs: readonly AgentSpec[],
  known: readonly string[] = [],
): (Located & { agent: string })[] {
  const names = [...new Set([...specs.map(({ name }) => name), ...known])];
  const problems: (Located & { agent: string })[] = [];
  for (const { name: agent, depends_on, tasks } of specs) {
    const waits = [
      ...depends_on.map((name, at) => ({ name, path: ['depends_on', at] as Path })),
      ...tasks.default.flatMap(({ dependencies }, task) =>
        dependencies.map((name, at) => ({ name, path: ['tasks', 'default', task, 'dependencies', at] as Path })),
      ),
    ];
    for (const { name, path } of waits) {
      if (!names.includes(name))
        problems.push({ agent, path, message: `there is no agent "${name}"${didYouMean(names, name)}` });
    }
  }
  const cycle = findCycle(new Map(specs.map((spec) => [spec.name, spec.depends_on])));
  if (cycle)
    problems.push({
      agent: cycle[0] ?? '',
      path: ['depends_on'],
      message: `goes round in a circle: ${cycle.join(' → ')}`,
    });
  for (const { name, tasks } of specs) {
    const at = tasks.default.findIndex(({ dependencies }) => dependencies.includes(name));
    if (at >= 0)
      problems.push({
        agent: name,
        path: ['tasks', 'default', at, 'dependencies'],
        message: 'a task cannot wait for its own agent',
      });
  }
  return problems;
}

/** A path that leads back to where it started, if there is one. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (name: string, path: string[]): string[] | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
    if (done.has(name)) return undefined;
    for (const next of edges.get(name) ?? []) {
      const cycle = visit(next, [...path, name]);
      if (cycle) return cycle;
    }
    done.add(name);
    return undefined;
  };
  for (const name of edges.keys()) {
    const cycle = visit(name, []);
    if (cycle) return cycle;
  }
  return undefined;
}
