import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parse as parseToml } from 'smol-toml';
import { problemLine } from '#shared/agents-file.ts';
import type { Client } from '#shared/client/client.ts';
import type { AgentSpec } from '#shared/contracts/agent.ts';
import type { Problem } from '#shared/errors.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { parseAgent } from '#shared/parse-agent.ts';
import { lineFinder } from '#shared/toml-lines.ts';

export type Applied = { name: string; result: 'created' | 'replaced' | 'unchanged' };

/** Brings the gateway's agents to what a file says of them. Throws `invalid`, and does nothing, where the file has a mistake. */
export async function* applyAgents(client: Client, file: string): AsyncGenerator<Applied> {
  for (const spec of inOrder(readSpecs(file))) yield { name: spec.name, result: await applyAgent(client, spec) };
}

async function applyAgent(client: Client, spec: AgentSpec): Promise<Applied['result']> {
  const before = await client.getAgent({ id: spec.name }).catch((error: unknown) => {
    if (error instanceof Failure && error.code === 'not-found') return undefined;
    throw error;
  });
  if (!before) {
    await client.createAgent({ body: spec });
    return 'created';
  }
  if (isDeepStrictEqual(before.spec, spec)) return 'unchanged';
  await client.replaceAgent({ id: spec.name, 'If-Match': `"${before.version}"`, body: spec });
  return 'replaced';
}

/** An agent comes after those of the file that it waits for: it may wait for none that there is not. */
function inOrder(specs: readonly AgentSpec[]): AgentSpec[] {
  const ordered: AgentSpec[] = [];
  for (let left = [...specs]; left.length > 0; ) {
    const names = new Set(left.map(({ name }) => name));
    const free = left.filter(({ depends_on }) => !depends_on.some((name) => names.has(name)));
    const next = free.length > 0 ? free : left; // a circle: the gateway says which
    ordered.push(...next);
    left = left.filter((spec) => !next.includes(spec));
  }
  return ordered;
}

function readSpecs(file: string): AgentSpec[] {
  const text = readText(file);
  const isJson = /^\s*[[{]\s*["{\]}]/.test(text) && !/^\s*\[\[/.test(text);
  const { entries, lineOf } = isJson ? readJson(text, file) : readToml(text, file);
  const problems: Problem[] = [];
  const specs = entries.flatMap((entry, index) => {
    const parsed = parseAgent(entry);
    for (const { path, message } of parsed.problems)
      problems.push({ field: [`agents[${index + 1}]`, ...path].join('.'), message, line: lineOf(index, path) });
    return parsed.spec ? [parsed.spec] : [];
  });
  if (problems.length > 0) throw refused(file, problems);
  return specs;
}

type Entries = {
  entries: readonly unknown[];
  lineOf(index: number, path: readonly (string | number)[]): number | undefined;
};

function readJson(text: string, file: string): Entries {
  const value = parsedOr(file, () => JSON.parse(text));
  const list = isObject(value) && Array.isArray(value.agents) ? value.agents : value;
  return { entries: Array.isArray(list) ? list : [list], lineOf: () => undefined };
}

function readToml(text: string, file: string): Entries {
  const { agents } = parsedOr(file, () => parseToml(text));
  if (!Array.isArray(agents)) throw refused(file, [{ field: 'the file', message: 'has no [[agents]]' }]);
  const find = lineFinder(text);
  return { entries: agents, lineOf: (index, path) => find(['agents', index, ...path]) };
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

function parsedOr<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw refused(file, [{ field: 'the file', message: `cannot be parsed: ${messageOf(error).split('\n')[0]}` }]);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw refused(file, [{ field: 'the file', message: `cannot be read: ${messageOf(error)}` }]);
  }
}

const refused = (file: string, problems: Problem[]) =>
  new Failure('invalid', problems.map((problem) => problemLine(file, problem)).join('\n'), { problems });
