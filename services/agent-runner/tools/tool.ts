import { z } from 'zod';
import type { Killed } from '#shared/contracts/events.ts';
import type { Capability } from '#shared/domain/capabilities.ts';
import { Failure } from '#shared/errors.ts';
import type { Jobs } from '../sandbox/jobs.ts';
import type { Processes } from '../sandbox/processes.ts';
import { quote } from './words.ts';

export type Handed = { bytes: Uint8Array; mediaType: string; summary: string; path?: string };
export type Image = { mediaType: 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp'; bytes: Buffer };
/** `parked`: what it waits for is recorded, and it is called again once that is there. */
export type Reply = {
  text: string;
  parked?: boolean;
  isError?: boolean;
  killed?: Killed;
  deliverable?: Handed;
  image?: Image;
};

/** What a tool that runs in the sandbox works with. */
export type SandboxContext = {
  /** The workspace's own path. */
  folder: string;
  /** A folder beside it for what is in between. */
  scratch: string;
  processes: Processes;
  jobs: Jobs;
  /** Who commits: for git's environment. */
  git: Readonly<Record<string, string>>;
  signal: AbortSignal;
  timeoutMs: number;
};

/** A tool as a model is offered it, and how it is run; `C` is what it works with. */
export type Tool<C> = {
  name: string;
  description: string;
  /** JSON Schema of its arguments. */
  inputSchema: Record<string, unknown>;
  /** What an agent must be allowed to do to be offered it; null: it comes with the work. */
  needs: Capability | null;
  /** Whether running it again does no harm. */
  idempotent: boolean;
  /** Whether it leaves the workspace and the world as they are. */
  readOnly: boolean;
  /** Checks the arguments and does the work. Throws `invalid` with what the model should mend. */
  call(context: C, args: unknown): Reply | Promise<Reply>;
};

type Definition<S extends z.ZodObject, C> = Omit<Tool<C>, 'inputSchema' | 'call'> & {
  input: S;
  run(context: C, args: z.output<S>): Reply | Promise<Reply>;
};

/** Binds a tool's schema to its work. */
export function defineTool<S extends z.ZodObject, C>({ input, run, ...tool }: Definition<S, C>): Tool<C> {
  const { $schema: _, ...inputSchema } = z.toJSONSchema(input, { io: 'input' });
  return {
    ...tool,
    inputSchema,
    call(context, args) {
      const parsed = input.safeParse(withoutNulls(args));
      if (parsed.success) return run(context, parsed.data);
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
