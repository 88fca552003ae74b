import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import type { Capability } from './capabilities.ts';
import type { Folder } from './confine.ts';
import { quote } from './words.ts';

export type Handed = { bytes: Uint8Array; mediaType: string; summary: string; path?: string };
export type Reply = { text: string; deliverable?: Handed };

/** A tool as a model is offered it, and how it is run. */
export type Tool = {
  name: string;
  description: string;
  /** JSON Schema of its arguments. */
  inputSchema: Record<string, unknown>;
  /** What an agent must be allowed to do to be offered it; null: it comes with the work. */
  needs: Capability | null;
  /** Whether running it again does no harm. */
  idempotent: boolean;
  /** Checks the arguments and does the work. Throws `invalid` with what the model should mend. */
  call(root: Folder, args: unknown): Reply;
};

type Definition<S extends z.ZodObject> = Omit<Tool, 'inputSchema' | 'call'> & {
  input: S;
  run(root: Folder, args: z.output<S>): Reply;
};

/** Binds a tool's schema to its work. */
export function defineTool<S extends z.ZodObject>({ input, run, ...tool }: Definition<S>): Tool {
  const { $schema: _, ...inputSchema } = z.toJSONSchema(input, { io: 'input' });
  return {
    ...tool,
    inputSchema,
    call(root, args) {
      const parsed = input.safeParse(withoutNulls(args));
      if (parsed.success) return run(root, parsed.data);
      const lines = parsed.error.issues.map((issue) => `- ${problem(issue, Object.keys(input.shape))}`);
      throw new Failure(
        'invalid',
        [`The arguments of ${tool.name} are wrong; call it again with these mended:`, ...lines.slice(0, 20)].join('\n'),
      );
    },
  };
}

/** Models often send null for what they leave out. */
const withoutNulls = (args: unknown): unknown =>
  typeof args === 'object' && args !== null && !Array.isArray(args)
    ? Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null))
    : args;

function problem(issue: z.core.$ZodIssue, known: string[]): string {
  const field = issue.path.map(String).join('.') || 'arguments';
  if (issue.code === 'unrecognized_keys')
    return `${issue.keys.slice(0, 10).map(quote).join(', ')}: no such argument; there are ${known.join(', ')}`;
  if (issue.code === 'invalid_type' && issue.input === undefined && issue.message.includes('undefined'))
    return `${field}: is missing; it must be ${article(issue.expected)}`;
  if (issue.code === 'invalid_type') return `${field}: must be ${article(issue.expected)}`;
  return `${field}: ${issue.message}`;
}

const article = (type: string) =>
  ({ int: 'a whole number', number: 'a number', string: 'a text', boolean: 'true or false', object: 'an object' })[
    type
  ] ?? type;
