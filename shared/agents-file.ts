import { existsSync, readFileSync } from 'node:fs';
import { parse as parseToml, TomlError } from 'smol-toml';
import type { AgentSpec } from './contracts/agent.ts';
import { McpServer } from './contracts/mcp.ts';
import { RepositoryRule } from './contracts/repository.ts';
import type { Problem } from './errors.ts';
import { Failure, messageOf } from './errors.ts';
import type { Located, Path } from './field-problems.ts';
import { describe, unknownField } from './field-problems.ts';
import { graphProblems, parseAgent } from './parse-agent.ts';
import type { Places } from './place-problems.ts';
import { placeProblems } from './place-problems.ts';
import { placeOf } from './repository-rules.ts';
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

/** The file's agents, and everything that is wrong with it. A problem with one agent or server leaves out that one alone. */
export type AgentsFile = { settings: Record<string, string>; agents: AgentSpec[]; problems: Problem[]; fatal: boolean };
/** `repositories`: undefined where what the file says of them cannot be read. */
type WholeFile = AgentsFile & { mcpServers: McpServer[]; repositories: RepositoryRule[] | undefined };

const nothing: WholeFile = { settings: {}, agents: [], mcpServers: [], repositories: [], problems: [], fatal: false };

/** Parses the text of an agents.toml. `fatal`: it is no TOML, or a section is wrong, so nothing in it can be relied on. */
export function parseAgentsFile(text: string): WholeFile {
  let tree: Record<string, unknown>;
  try {
    tree = parseToml(text);
  } catch (error) {
    const line = error instanceof TomlError ? error.line : undefined;
    const message =
      messageOf(error)
        .split('\n')[0]
        ?.replace(/^Invalid TOML document: /, '') ?? '';
    const problems = [{ field: 'the file', message: `is not TOML: ${message}`, line }];
    return { ...nothing, repositories: undefined, problems, fatal: true };
  }
  const lineOf = lineFinder(text);
  const { agents: entries = [], mcp_servers: serverEntries = [], repositories: ruleEntries = [], ...rest } = tree;
  const found = readSections(rest);
  const servers = readServers(serverEntries);
  const rules = readRules(ruleEntries);
  const located = (problem: Located): Problem => ({
    field: fieldName(problem.path),
    message: problem.message,
    line: lineOf(problem.path),
  });
  const fatal = found.problems.length > 0;
  if (!Array.isArray(entries)) {
    const problem = { path: ['agents'], message: 'must be written [[agents]], once for each agent' };
    const problems = [...found.problems, ...servers.problems, ...rules.problems, problem].map(located);
    return { ...nothing, repositories: undefined, settings: found.settings, problems, fatal: true };
  }
  // A section that is not known may be one that was to say whose something is.
  const repositories = fatal || rules.problems.length > 0 ? undefined : rules.rules;
  const read = readAgents(entries, { mcpServers: servers.servers, repositories });
  return {
    settings: found.settings,
    agents: read.agents,
    mcpServers: servers.servers,
    repositories,
    problems: [...found.problems, ...servers.problems, ...rules.problems, ...read.problems].map(located),
    fatal,
  };
}

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
    if (!top.includes(name))
      problems.push({ path: [name], message: unknownField([...top, 'agents', 'mcp_servers', 'repositories'], name) });
    else if (!isTable(table)) problems.push({ path: [name], message: `must be a section, written [${name}]` });
    else walk(name, table, [name]);
  }
  return { settings, problems };
}

function readAgents(entries: unknown[], places: Places): { agents: AgentSpec[]; problems: Located[] } {
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
    const others = placeProblems(parsed.spec, places, false);
    if (others.length > 0) {
      problems.push(...others.map(({ path, message }) => ({ path: ['agents', index, ...path], message })));
      continue;
    }
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

function readServers(entries: unknown): { servers: McpServer[]; problems: Located[] } {
  if (!Array.isArray(entries)) {
    const message = 'must be written [[mcp_servers]], once for each server';
    return { servers: [], problems: [{ path: ['mcp_servers'], message }] };
  }
  const servers: McpServer[] = [];
  const problems: Located[] = [];
  const first = new Map<string, number>();
  for (const [index, entry] of entries.entries()) {
    const parsed = McpServer.safeParse(entry);
    if (!parsed.success) {
      for (const { path, message } of parsed.error.issues.flatMap((issue) => describe(issue, McpServer, entry)))
        problems.push({ path: ['mcp_servers', index, ...path], message });
      continue;
    }
    const { name } = parsed.data;
    const earlier = first.get(name);
    if (earlier === undefined) servers.push(parsed.data);
    else
      problems.push({
        path: ['mcp_servers', index, 'name'],
        message: `"${name}" is the name of mcp_servers[${earlier + 1}] already; choose another`,
      });
    first.set(name, earlier ?? index);
  }
  return { servers, problems };
}

function readRules(entries: unknown): { rules: RepositoryRule[]; problems: Located[] } {
  if (!Array.isArray(entries)) {
    const message = 'must be written [[repositories]], once for each folder or URL';
    return { rules: [], problems: [{ path: ['repositories'], message }] };
  }
  const rules: RepositoryRule[] = [];
  const problems: Located[] = [];
  const first = new Map<string, number>();
  for (const [index, entry] of entries.entries()) {
    const parsed = RepositoryRule.safeParse(entry);
    if (!parsed.success) {
      for (const { path, message } of parsed.error.issues.flatMap((issue) => describe(issue, RepositoryRule, entry)))
        problems.push({ path: ['repositories', index, ...path], message });
      continue;
    }
    const place = placeOf(parsed.data.path);
    const earlier = place === undefined ? undefined : first.get(place);
    const at = ['repositories', index, 'path'];
    if (place === undefined)
      problems.push({ path: at, message: 'must be a folder, or a URL without "%", "//", "?" and "#" in its path' });
    else if (earlier !== undefined)
      problems.push({ path: at, message: `is that of repositories[${earlier + 1}] already; write both as one` });
    else rules.push(parsed.data);
    if (place !== undefined) first.set(place, earlier ?? index);
  }
  return { rules, problems };
}

/** One line for a problem: `config/agents.toml:12: agents[1].priority is "urgent"; it takes critical, high, medium, low`. */
export const problemLine = (file: string, { field, message, line }: Problem) =>
  `${file}${line ? `:${line}` : ''}: ${field} ${message}`;

/** Reads the file; none there is an empty one. */
export function readAgentsFile(file: string): WholeFile {
  return existsSync(file) ? parseAgentsFile(readFileSync(file, 'utf8')) : nothing;
}

/** The settings in the file's sections, by the names that the environment has for them. Throws `invalid` where the file is unusable. */
export function settingsFromFile(file: string): Record<string, string> {
  const { settings, problems, fatal } = readAgentsFile(file);
  if (fatal)
    throw new Failure('invalid', problems.map((problem) => problemLine(file, problem)).join('\n'), { problems });
  return settings;
}
