import { existsSync, readFileSync } from 'node:fs';
import { CronPattern } from 'croner';
import { distance } from 'fastest-levenshtein';
import { parse as parseToml, TomlError } from 'smol-toml';
import { z } from 'zod';
import { AgentSpec } from './contracts/agent.ts';
import type { Problem } from './errors.ts';
import { Failure, messageOf } from './errors.ts';
import { lineFinder } from './toml-lines.ts';

/** The file's sections and the settings that their fields become. */
const sections: Record<string, Record<string, string>> = {
  orchestration: {
    max_concurrent_agents: 'MAX_CONCURRENT_AGENTS',
    agent_pool_size: 'AGENT_POOL_SIZE',
    agent_spawn_timeout: 'AGENT_SPAWN_TIMEOUT',
    workstream_timeout: 'WORKSTREAM_TIMEOUT',
  },
  security: { sandbox_enabled: 'AGENT_SANDBOX_ENABLED', capability_validation: 'CAPABILITY_VALIDATION' },
  'security.resource_limits': {
    max_memory: 'MAX_MEMORY_PER_AGENT',
    max_cpu: 'MAX_CPU_PER_AGENT',
    timeout: 'AGENT_TIMEOUT',
  },
  llm: {
    provider: 'LLM_PROVIDER',
    model: 'LLM_MODEL',
    rate_limit: 'RATE_LIMIT_REQUESTS',
    timeout: 'LLM_TIMEOUT',
    debug_mode: 'LLM_DEBUG',
  },
  caching: {
    context_cache_size: 'CONTEXT_CACHE_SIZE',
    context_cache_ttl: 'CONTEXT_CACHE_TTL',
    response_cache_enabled: 'RESPONSE_CACHE_ENABLED',
    response_cache_size: 'RESPONSE_CACHE_SIZE',
    response_cache_ttl: 'RESPONSE_CACHE_TTL',
  },
  monitoring: { metrics_enabled: 'METRICS_ENABLED', tracing_enabled: 'TRACING_ENABLED', log_level: 'LOG_LEVEL' },
};

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** The file's agents, and everything that is wrong with it. A problem with one agent leaves out that agent alone. */
export type AgentsFile = { settings: Record<string, string>; agents: AgentSpec[]; problems: Problem[]; fatal: boolean };

/** Parses the text of an agents.toml. `fatal`: it is no TOML, or a section is wrong, so nothing in it can be relied on. */
export function parseAgentsFile(text: string): AgentsFile {
  let tree: Record<string, unknown>;
  try {
    tree = parseToml(text);
  } catch (error) {
    const line = error instanceof TomlError ? error.line : undefined;
    const message =
      messageOf(error)
        .split('\n')[0]
        ?.replace(/^Invalid TOML document: /, '') ?? '';
    return {
      settings: {},
      agents: [],
      problems: [{ field: 'the file', message: `is not TOML: ${message}`, line }],
      fatal: true,
    };
  }
  const lineOf = lineFinder(text);
  const { agents: entries = [], ...rest } = tree;
  const found = readSections(rest);
  const located = (problem: Located): Problem => ({
    field: fieldName(problem.path),
    message: problem.message,
    line: lineOf(problem.path),
  });
  const fatal = found.problems.length > 0;
  if (!Array.isArray(entries)) {
    const problem = located({ path: ['agents'], message: 'must be written [[agents]], once for each agent' });
    return { settings: found.settings, agents: [], problems: [...found.problems.map(located), problem], fatal: true };
  }
  const read = readAgents(entries);
  return {
    settings: found.settings,
    agents: read.agents,
    problems: [...found.problems, ...read.problems].map(located),
    fatal,
  };
}

type Path = readonly (string | number)[];
type Located = { path: Path; message: string };

/** `agents[1].objectives[0].description`, as people count from the file's top: from 1. */
const fieldName = (path: Path) =>
  path.map((part, index) => (typeof part === 'number' ? `[${part + 1}]` : `${index ? '.' : ''}${part}`)).join('');

function readSections(tree: Record<string, unknown>): { settings: Record<string, string>; problems: Located[] } {
  const settings: Record<string, string> = {};
  const problems: Located[] = [];
  const walk = (name: string, table: Record<string, unknown>, path: Path) => {
    const fields = sections[name] ?? {};
    const nested = Object.keys(sections)
      .filter((key) => key.startsWith(`${name}.`))
      .map((key) => key.slice(name.length + 1));
    for (const [field, value] of Object.entries(table)) {
      const variable = fields[field];
      const here = [...path, field];
      if (nested.includes(field) && isTable(value)) walk(`${name}.${field}`, value, here);
      else if (!variable)
        problems.push({ path: here, message: unknownField([...Object.keys(fields), ...nested], field) });
      else if (['string', 'number', 'boolean', 'bigint'].includes(typeof value)) settings[variable] = String(value);
      else problems.push({ path: here, message: 'must be a single value: a text, a number, true or false' });
    }
  };
  const top = Object.keys(sections).filter((name) => !name.includes('.'));
  for (const [name, table] of Object.entries(tree)) {
    if (!top.includes(name)) problems.push({ path: [name], message: unknownField([...top, 'agents'], name) });
    else if (!isTable(table)) problems.push({ path: [name], message: `must be a section, written [${name}]` });
    else walk(name, table, [name]);
  }
  return { settings, problems };
}

function readAgents(entries: unknown[]): { agents: AgentSpec[]; problems: Located[] } {
  const problems: Located[] = [];
  const agents: { spec: AgentSpec; index: number }[] = [];
  const first = new Map<string, number>();
  for (const [index, entry] of entries.entries()) {
    const parsed = parseAgent(entry);
    if (!parsed.spec) {
      problems.push(...parsed.problems.map(({ path, message }) => ({ path: ['agents', index, ...path], message })));
      continue;
    }
    const { name } = parsed.spec;
    const earlier = first.get(name);
    if (earlier === undefined) agents.push({ spec: parsed.spec, index });
    else
      problems.push({
        path: ['agents', index, 'name'],
        message: `"${name}" is the name of agents[${earlier + 1}] already; choose another`,
      });
    first.set(name, earlier ?? index);
  }
  const graph = graphProblems(agents.map(({ spec }) => spec));
  const bad = new Set(graph.map(({ agent }) => agent));
  problems.push(
    ...graph.map(({ agent, path, message }) => ({
      path: ['agents', agents.find(({ spec }) => spec.name === agent)?.index ?? 0, ...path],
      message,
    })),
  );
  return { agents: agents.map(({ spec }) => spec).filter(({ name }) => !bad.has(name)), problems };
}

/** One agent, checked as POST /agents checks it: by its schema, its cron line, and the order of its own objectives. */
export function parseAgent(entry: unknown): { spec?: AgentSpec; problems: Located[] } {
  const parsed = AgentSpec.safeParse(entry);
  if (!parsed.success) return { problems: parsed.error.issues.flatMap((issue) => describe(issue, entry)) };
  const problems = [...objectiveProblems(parsed.data), ...scheduleProblems(parsed.data)];
  return problems.length > 0 ? { problems } : { spec: parsed.data, problems };
}

function scheduleProblems({ schedule }: AgentSpec): Located[] {
  if (!schedule) return [];
  try {
    new CronPattern(schedule);
    return [];
  } catch (error) {
    const detail = messageOf(error).replace(/^CronPattern: /, '');
    return [
      {
        path: ['schedule'],
        message: `is no cron line such as "0 6 * * 1-5" (minute hour day month weekday): ${detail}`,
      },
    ];
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

/** A zod issue in our words: the field, what is wrong with it, and the nearest name for one that is not known. */
export function describe(issue: z.core.$ZodIssue, input: unknown): Located[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  const value = path.reduce<unknown>((at, part) => (at as Record<string | number, unknown> | undefined)?.[part], input);
  if (issue.code === 'unrecognized_keys') {
    const known = knownFields(path);
    return issue.keys.map((key) => ({ path: [...path, key], message: unknownField(known, key) }));
  }
  if (value === undefined) return [{ path, message: 'is missing' }];
  if (issue.code === 'invalid_value')
    return [
      { path, message: `is ${JSON.stringify(value)}; it takes ${issue.values.map((each) => String(each)).join(', ')}` },
    ];
  if (issue.code === 'invalid_type')
    return [{ path, message: `must be ${article(issue.expected)}, not ${JSON.stringify(value)}` }];
  if (issue.code === 'too_small' && issue.message.startsWith('Too '))
    return [{ path, message: `must be at least ${issue.minimum}` }];
  if (issue.code === 'too_big' && issue.message.startsWith('Too '))
    return [{ path, message: `must be at most ${issue.maximum}` }];
  return [{ path, message: issue.message }];
}

const article = (type: string) =>
  ({
    string: 'a text in quotes',
    number: 'a number',
    int: 'a whole number',
    array: 'a list in [ ]',
    object: 'a table',
  })[type] ?? type;

/** The fields that the schema knows at a path. */
function knownFields(path: Path): string[] {
  let at: unknown = AgentSpec;
  for (const part of path) {
    at = bare(at);
    at = at instanceof z.ZodArray ? at.element : at instanceof z.ZodObject ? at.shape[part] : undefined;
  }
  const object = bare(at);
  return object instanceof z.ZodObject ? Object.keys(object.shape) : [];
}

function bare(type: unknown): unknown {
  let at = type;
  while (at instanceof z.ZodDefault || at instanceof z.ZodOptional) at = at.unwrap();
  return at;
}

const unknownField = (known: readonly string[], name: string) => `is not a known field${didYouMean(known, name)}`;

function didYouMean(known: readonly string[], name: string): string {
  const [nearest] = known.map((each) => ({ each, off: distance(each, name) })).sort((a, b) => a.off - b.off);
  const longer = name.length > 2 ? known.find((each) => each.includes(name)) : undefined;
  const meant = nearest && nearest.off <= Math.max(2, name.length / 2.5) ? nearest.each : longer;
  if (meant) return `; did you mean "${meant}"?`;
  return known.length > 0 && known.length <= 20 ? `; known are ${known.join(', ')}` : '';
}

/** One line for a problem: `config/agents.toml:12: agents[1].priority is "urgent"; it takes critical, high, medium, low`. */
export const problemLine = (file: string, { field, message, line }: Problem) =>
  `${file}${line ? `:${line}` : ''}: ${field} ${message}`;

/** Reads the file; none there is an empty one. */
export function readAgentsFile(file: string): AgentsFile {
  return existsSync(file)
    ? parseAgentsFile(readFileSync(file, 'utf8'))
    : { settings: {}, agents: [], problems: [], fatal: false };
}

/** The settings in the file's sections, by the names that the environment has for them. Throws `invalid` where the file is unusable. */
export function settingsFromFile(file: string): Record<string, string> {
  const { settings, problems, fatal } = readAgentsFile(file);
  if (fatal)
    throw new Failure('invalid', problems.map((problem) => problemLine(file, problem)).join('\n'), { problems });
  return settings;
}
