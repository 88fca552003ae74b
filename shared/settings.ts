import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { settingsFromFile } from './agents-file.ts';
import { Failure, messageOf } from './errors.ts';
import { rememberSecret } from './secrets.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const flag = z.stringbool({ truthy: ['true', '1', 'yes', 'on'], falsy: ['false', '0', 'no', 'off'] });

/** Kinds of settings, each from a string and with a message that says what it takes. */
export const setting = {
  text: () => z.string().min(1),
  secret: () => z.string().min(1).register(secrets, { secret: true }),
  /** A secret that the user makes up, with `command`: long enough, on one line, and not what an example says. */
  ownSecret: (charsMin: number, command: string) =>
    setting
      .secret()
      .refine(
        (value) => value.length >= charsMin,
        `must have at least ${charsMin} characters; make one with: ${command}`,
      )
      .refine((value) => !isPlaceholder(value), `is a placeholder; make one with: ${command}`)
      .refine((value) => !/\p{Cc}/u.test(value), 'must be one line'),
  flag: () => flag,
  integer: (min: number, max: number) => z.coerce.number().int().min(min).max(max),
  number: (min: number, max: number) => z.coerce.number().min(min).max(max),
  url: () => z.url(),
  /** Numbers by name, such as "docs=2,main=10,*=20", where * is any other. */
  limits: () =>
    z.string().transform((text, context) => {
      const pairs = text.split(',').map((each) => /^\s*([^=\s]+)\s*=\s*(\d{1,7})\s*$/.exec(each));
      if (pairs.every((pair) => pair !== null && Number(pair[2]) > 0))
        return new Map(pairs.map((pair) => [pair?.[1] ?? '', Number(pair?.[2])]));
      context.addIssue({ code: 'custom', message: 'must be names with numbers from 1 on, such as "docs=2,*=10"' });
      return z.NEVER;
    }),
};

/** Whether a secret is what examples have in its place. */
export const isPlaceholder = (value: string): boolean =>
  /change.?me|your[-_ ]|example|placeholder|^(password|secret|admin)$|^(.)\2+$/i.test(value);

const secrets = z.registry<{ secret: true }>();

/** Names that users may still have from elsewhere. */
export const aliases: Readonly<Record<string, string>> = {
  TOKIO_WORKER_THREADS: 'WORKER_THREADS',
  RUST_LOG: 'LOG_LEVEL',
  RUST_SECURE_ZERO_MEMORY: 'SECURE_ZERO_MEMORY',
};

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** What every service takes. */
export const CommonConfig = z.object({
  NATS_URL: setting.text().default('nats://127.0.0.1:4222'),
  NATS_USER: setting.text().default('toka'),
  NATS_PASSWORD: setting.secret().optional(),
  NATS_REPLICAS: setting.integer(1, 5).default(1),
  INSTANCE: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .optional(),
  METRICS_ENABLED: setting.flag().default(true),
  /** Agents that have a label of their own in metrics; the others share `other`. */
  METRICS_AGENTS_MAX: setting.integer(0, 10_000).default(100),
  /** Whether events carry a W3C trace context (`traceparent`). */
  TRACING_ENABLED: setting.flag().default(false),
  METRICS_PORT: setting.integer(0, 65_535).default(9464),
  METRICS_HOST: setting.text().default('0.0.0.0'),
  LOG_LEVEL: z.enum(logLevels).default('info'),
  /** Seconds that a task is held without a sign of life from its runner. */
  TASK_LEASE: setting.number(0.5, 3_600).default(30),
  /** Seconds from SIGTERM until what is at hand is given up. */
  SHUTDOWN_GRACE: setting.number(0, 600).default(20),
  /** Threads of this process for files, names and compression: whoever starts it passes it on to libuv, which reads it first. */
  WORKER_THREADS: setting.integer(1, 1_024).default(4),
  CONFIG_FILE: setting.text().default('config/agents.toml'),
});
export type CommonConfig = z.infer<typeof CommonConfig>;

/**
 * A service's settings: the environment over agents.toml over defaults. `NAME_FILE` reads a value from a file. Throws `invalid`
 * with one line for each bad value, naming the variable, what it got and what it takes; secrets are not shown.
 */
export function readSettings<S extends z.ZodObject>(schema: S, environment: Environment): z.output<S> {
  const given = { ...settingsFromFile(environment.CONFIG_FILE ?? 'config/agents.toml'), ...named(environment) };
  const values: Record<string, string> = {};
  const problems: { field: string; message: string }[] = [];
  for (const name of Object.keys(schema.shape)) {
    const file = environment[`${name}_FILE`];
    try {
      const value = given[name] ?? (file ? readFileSync(file, 'utf8').trim() : undefined);
      if (value !== undefined && value !== '') values[name] = value;
    } catch (error) {
      problems.push({ field: `${name}_FILE`, message: `cannot be read: ${messageOf(error)}` });
    }
  }
  const parsed = schema.safeParse(values);
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    const got = isSecret(schema, name) ? 'a value' : JSON.stringify(values[name] ?? '');
    problems.push({
      field: name,
      message: name in values ? `got ${got}: ${issue.message}` : 'is required and is not set',
    });
  }
  if (problems.length > 0 || !parsed.success) {
    throw new Failure('invalid', problems.map(({ field, message }) => `${field} ${message}`).join('\n'), { problems });
  }
  for (const [name, value] of Object.entries(values)) if (isSecret(schema, name)) rememberSecret(value);
  return parsed.data;
}

/** A secret that no schema knows, for its name is the user's: the variable, or the file that NAME_FILE names. */
export function readSecret(environment: Environment, name: string): string | undefined {
  const file = environment[`${name}_FILE`];
  try {
    return environment[name] ?? (file ? readFileSync(file, 'utf8').trim() : undefined);
  } catch {
    return undefined; // whoever needs it says that it is not set
  }
}

function named(environment: Environment): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || value === '') continue;
    const known = aliases[name];
    if (!known) values[name] = value;
    else if (!environment[known]) values[known] = known === 'LOG_LEVEL' ? value.toLowerCase() : value;
  }
  return values;
}

function isSecret(schema: z.ZodObject, name: string): boolean {
  let type: unknown = schema.shape[name];
  while (type instanceof z.ZodOptional || type instanceof z.ZodDefault) type = type.unwrap();
  // Not `has`: a secret with further checks inherits that it is one.
  return type instanceof z.ZodType && secrets.get(type as z.ZodString)?.secret === true;
}

/** What runners hold a run to that asks for another, and the scheduler once more: the word of one runner is not enough. */
export const delegationSettings = {
  /** Input and output tokens of a run, where the agent sets no limits.max_tokens. */
  AGENT_MAX_TOKENS: setting.integer(1, 1_000_000_000).default(2_000_000),
  CAPABILITY_VALIDATION: z.enum(['strict', 'warn', 'off']).default('strict'),
};
