import { createContext, Script } from 'node:vm';
import { z } from 'zod';
import { mapNumbers } from '#shared/exact-json.ts';
import type { Schema } from './schema.ts';
import { isObject } from './schema.ts';

const checkMsMax = 100;
/** Of the objects and lists in a schema, each counted as often as references lead to it. */
const weightMax = 10_000;
const problemsMax = 20;

export type Checked = { args: Record<string, unknown> } | { problem: string };

// A hostile schema can take years: a regular expression that backtracks, alternatives within alternatives. What is seen to be
// too much is not begun; the rest gets its time, and no more.
const context = createContext({ run: undefined });
const script = new Script('run()');

function withinTime<T>(run: () => T): T | undefined {
  context.run = run;
  try {
    return script.runInContext(context, { timeout: checkMsMax }) as T;
  } catch {
    return undefined;
  }
}

/** Makes the check of a tool's arguments. What zod cannot say of a schema, or not in time, is left to the server to check. */
export function createCheck(tool: string, schema: Schema): (args: unknown) => Checked {
  let known: z.ZodType | undefined = withinTime(() =>
    weightOf(schema) > weightMax ? undefined : z.fromJSONSchema(schema),
  );
  const problemsOf = (args: Record<string, unknown>): string[] => {
    const type = known;
    if (!type) return [];
    const parsed = withinTime(() => type.safeParse(readable(args)));
    if (!parsed) known = undefined;
    return parsed?.error?.issues.map(describe) ?? [];
  };
  return (given) => {
    const args = given ?? {};
    if (!isObject(args)) return { problem: mend(tool, ['the arguments must be an object']) };
    const problems = problemsOf(args);
    if (problems.length === 0) return { args };
    const spare = withoutNulls(args);
    return problemsOf(spare).length === 0 ? { args: spare } : { problem: mend(tool, problems) };
  };
}

/** A number that only its text holds goes to the server as it is; here it counts as the largest that there is. */
const readable = (args: unknown): unknown =>
  mapNumbers(args, (raw) => Math.min(Math.max(Number(raw), Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER));

/** How much there is to look at where every reference is followed; one that leads back to itself is followed once. */
function weightOf(schema: Schema): number {
  const known = new Map([['#', 1]]);
  const follow = (reference: string): number => {
    const weight = known.get(reference);
    if (weight !== undefined) return weight;
    known.set(reference, 1);
    const [, place = '', name = ''] = /^#\/(\$defs|definitions)\/([^/~%]+)$/.exec(reference) ?? [];
    const named = schema[place];
    // What is written in any other way might lead anywhere.
    const found = isObject(named) ? weigh(named[name]) : Number.POSITIVE_INFINITY;
    known.set(reference, found);
    return found;
  };
  const weigh = (value: unknown): number => {
    if (typeof value !== 'object' || value === null) return 0;
    return Object.entries(value).reduce(
      (sum, [key, each]) => sum + (key === '$ref' && typeof each === 'string' ? follow(each) : weigh(each)),
      1,
    );
  };
  return weigh(schema);
}

/** Models often send null for what they leave out. */
const withoutNulls = (args: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null));

const mend = (tool: string, problems: string[]) =>
  [
    `The arguments of ${tool} are wrong; call it again with these mended:`,
    ...problems.slice(0, problemsMax).map((problem) => `- ${problem}`),
  ].join('\n');

function describe(issue: z.core.$ZodIssue): string {
  const field = issue.path.map(String).join('.') || 'the arguments';
  if (issue.code === 'unrecognized_keys') return `${field}: there is no ${issue.keys.slice(0, 10).join(', ')}`;
  if (issue.code === 'invalid_type' && issue.message.includes('received undefined'))
    return `${field}: is missing; it must be of type ${issue.expected}`;
  return `${field}: ${issue.message}`;
}
