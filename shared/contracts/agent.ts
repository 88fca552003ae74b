import { z } from 'zod';
import { AgentId, Priority } from './ids.ts';
import { name } from './name.ts';

// The same schema reads [[agents]] in agents.toml and the body of POST /agents, so both use the file's snake_case names.

const text = (max: number) =>
  z.string().trim().min(1, 'must not be empty').max(max, `must be at most ${max} characters`);
const label = name(100);
const ItemId = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9, ".", "_" and "-"');

/** "512MB", "1GiB" or a number of bytes → bytes. */
export const Bytes = z.union([z.number().int().positive(), z.string()]).transform((value, context) => {
  if (typeof value === 'number') return value;
  const match = /^(\d+(?:\.\d+)?)\s*(|b|k|kb|kib|m|mb|mib|g|gb|gib)$/i.exec(value.trim());
  const [, amount, unit = ''] = match ?? [];
  if (!amount || Number(amount) === 0) {
    context.addIssue({ code: 'custom', message: 'must be a size such as "512MB" or "1GB"' });
    return z.NEVER;
  }
  const power = { '': 0, b: 0, k: 1, m: 2, g: 3 }[unit.toLowerCase().slice(0, 1)] ?? 0;
  return Math.round(Number(amount) * 1024 ** power);
});

export const Limits = z.strictObject({
  max_steps: z.number().int().min(1).max(1000).optional(),
  max_tokens: z.number().int().min(1).optional(),
  max_cost_usd: z.number().positive().optional(),
  /** Seconds from a run's start to its end. */
  timeout: z.number().positive().max(604_800).optional(),
  memory: Bytes.optional(),
  cpu: z.number().positive().max(64).optional(),
  /** Runs of the agent that may be at work at a time; one where it is not set. */
  concurrent_runs: z.number().int().min(1).max(1000).optional(),
});
export type Limits = z.infer<typeof Limits>;

export const Capabilities = z.strictObject({
  primary: z.array(label).max(50).default([]),
  secondary: z.array(label).max(50).default([]),
});

/** A host that an agent may speak to: "api.example.com", "*.example.com", each with ":port" or without (443 and 80). */
const Host = z
  .string()
  .max(300)
  .toLowerCase()
  .regex(
    /^(\*\.)?([a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?(:\d{1,5})?$/,
    'must be a host such as "api.example.com", "*.example.com" or "example.com:8443"',
  );

export const Network = z.strictObject({ allow: z.array(Host).max(100).default([]) });

export const Approvals = z.strictObject({
  /** Tools (with * for any part of a name), or capabilities written capability:<name>, each call of which a person must approve. */
  required: z.array(label).max(50).default([]),
  /** Seconds that a request waits for a person. */
  expires: z.number().positive().max(2_592_000).default(86_400),
});

export const Objective = z.strictObject({
  id: ItemId.optional(),
  description: text(20_000),
  deliverable: text(2_000),
  validation: text(10_000),
  depends_on: z.array(ItemId).max(50).default([]),
  validation_command: text(2_000).optional(),
});

export const DefaultTask = z.strictObject({
  description: text(20_000),
  priority: Priority.optional(),
  dependencies: z.array(AgentId).max(50).default([]),
});

/** When an agent's objectives come round. */
const Timetable = z.strictObject({
  /** A cron line: minute, hour, day, month, weekday. */
  cron: text(200),
  /** The zone that the line is read in, by its IANA name. */
  timezone: text(100).default('UTC'),
  /** What becomes of a time that came while nobody could start it: the latest is made up for, or it is passed over. */
  missed: z.enum(['run', 'skip']).default('run'),
  /** What becomes of a time that comes while the last run is under way: it waits, is passed over, or ends that run. */
  overlap: z.enum(['queue', 'skip', 'cancel']).default('queue'),
});
export type Timetable = z.infer<typeof Timetable>;

/** How runs share a branch of a repository. */
const Ownership = z.strictObject({
  /** With others; alone, going when the branch is free; or alone and in turn, so that no later run gets ahead. */
  branch: z.enum(['share', 'wait', 'queue']).default('share'),
});

/** How often a run is put back to be tried again, by what went wrong. Unset: the runner's defaults. */
const times = z.number().int().min(0).max(100).optional();
export const Retries = z.strictObject({ provider: times, sandbox: times, tool: times, validation: times });
export type Retries = z.infer<typeof Retries>;

/** An agent as a person writes it down. */
export const AgentSpec = z.strictObject({
  name: AgentId,
  version: name(50),
  domain: label,
  priority: Priority,
  workstream: label,
  branch: name(200).regex(/^(?!-|HEAD$)[^\s~^:?*[\\]+$/, 'must be a git branch name'),
  model: name(200).optional(),
  schedule: z.union([text(200), Timetable]).optional(),
  instructions: text(50_000).optional(),
  depends_on: z.array(AgentId).max(50).default([]),
  repository: text(1_000).optional(),
  limits: Limits.default({}),
  ownership: Ownership.default({ branch: 'share' }),
  retries: Retries.default({}),
  capabilities: Capabilities,
  network: Network.default({ allow: [] }),
  approvals: Approvals.default({ required: [], expires: 86_400 }),
  /** Files of the workspace that a run keeps at its end, by glob. */
  artifacts: z.array(text(300)).max(20).default([]),
  objectives: z.array(Objective).min(1, 'needs at least one objective').max(100),
  tasks: z.strictObject({ default: z.array(DefaultTask).max(100).default([]) }).default({ default: [] }),
});
export type AgentSpec = z.infer<typeof AgentSpec>;
export type AgentInput = z.input<typeof AgentSpec>;

/** An agent's schedule in full, however it was written. */
export const timetableOf = ({ schedule }: AgentSpec): Timetable | undefined =>
  typeof schedule === 'string' ? { cron: schedule, timezone: 'UTC', missed: 'run', overlap: 'queue' } : schedule;

/** One piece of work of an agent, made from an objective, from a default task, or from an ad-hoc input. */
export const Work = z.object({
  id: ItemId,
  kind: z.enum(['objective', 'task', 'ad-hoc']),
  description: z.string(),
  /** What to hand in; null: the model's last answer is the result. */
  deliverable: z.string().nullable(),
  /** How it is judged; null: it is not. */
  validation: z.string().nullable(),
  /** A shell command that must end well in the final workspace. */
  validationCommand: z.string().nullable().default(null),
  /** Ids of works of the same agent that end well first. */
  dependsOn: z.array(z.string()),
  /** Agents whose works all end well first. */
  dependsOnAgents: z.array(z.string()),
  priority: Priority,
});
export type Work = z.infer<typeof Work>;

/** What a run needs to know of its agent; it stays as it was when the run was queued. */
export const Definition = AgentSpec.omit({ objectives: true, tasks: true, schedule: true, depends_on: true });
export type Definition = z.infer<typeof Definition>;
