import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import type { ServiceUser } from '#shared/bus/users.ts';
import { adminUser, authorization, serviceUsers } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';
import { KeeperConfig } from '#shared/keeper/settings.ts';
import { isPlaceholder, readSettings, setting } from '#shared/settings.ts';
import { Config as AgentRunner } from '../services/agent-runner/config.ts';
import { Config as Gateway } from '../services/gateway/config.ts';
import { Config as LlmProxy } from '../services/llm-proxy/config.ts';
import { Config as Scheduler } from '../services/scheduler/config.ts';
import { Config as Store } from '../services/store/config.ts';

// The stack's first container: no other starts before it has ended well. It reads every setting by the schema of the service that
// takes it, and writes who may what on NATS, and the token of the sandboxes, where those find them that need them.

/** What NATS alone reads: its users, and the password of the one that may all. */
const usersFile = '/data/nats-auth/users.conf';
const adminFile = '/data/nats-auth/password';
/** In a volume of each service's own. */
const passwordFile = (service: ServiceUser) => `/data/nats-users/${service}/password`;
/** What a sandbox and a runner know each other by. */
const sandboxToken = '/data/sandboxes/token';
const apiKey = setting
  .secret()
  .refine((value) => !isPlaceholder(value), 'is a placeholder')
  .optional();

const Secrets = z.object({
  REDIS_PASSWORD: setting.ownSecret(12, 'openssl rand -hex 24'),
  GRAFANA_PASSWORD: setting.ownSecret(8, 'openssl rand -hex 16'),
  NATS_PASSWORD: setting.ownSecret(12, 'openssl rand -hex 24').optional(),
  ANTHROPIC_API_KEY: apiKey,
  OPENAI_API_KEY: apiKey,
});
const Production = z.object({
  LLM_PROVIDER: z.enum(
    ['anthropic', 'openai'],
    'takes anthropic or openai in production: the demo provider only follows rules',
  ),
});

function problemsOf(schema: z.ZodObject): string[] {
  try {
    readSettings(schema, process.env);
    return [];
  } catch (error) {
    if (error instanceof Failure) return error.message.split('\n');
    throw error;
  }
}

function write(file: string, text: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  writeFileSync(`${file}.new`, text, { mode: 0o400 });
  renameSync(`${file}.new`, file);
}

/** The password that was set, else the one that is there, else a new one. */
function keepPassword(file: string, set?: string): string {
  const password = set ?? (existsSync(file) ? readFileSync(file, 'utf8') : randomBytes(24).toString('hex'));
  write(file, password);
  return password;
}

function writeUsers(): void {
  const { NATS_PASSWORD } = readSettings(Secrets, process.env);
  const services = serviceUsers.map((service) => [service, keepPassword(passwordFile(service))]);
  const passwords = { ...Object.fromEntries(services), [adminUser]: keepPassword(adminFile, NATS_PASSWORD) };
  write(usersFile, authorization(passwords));
}

const schemas: z.ZodObject[] = [Gateway, Scheduler, AgentRunner, LlmProxy, Store, KeeperConfig, Secrets];
if (process.argv.includes('--production')) schemas.push(Production);
const problems = new Set(schemas.flatMap(problemsOf));
if (problems.size > 0) {
  process.stderr.write('These settings keep the stack from starting. Mend them in .env, then: docker compose up -d\n');
  for (const problem of problems) process.stderr.write(`  ${problem}\n`);
  process.exit(1);
}
writeUsers();
if (!existsSync(sandboxToken)) writeFileSync(sandboxToken, randomBytes(32).toString('hex'), { mode: 0o400 });
process.stdout.write('The settings are in order.\n');
