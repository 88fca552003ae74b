import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { isPlaceholder, readSettings, setting } from '#shared/settings.ts';
import { Config as AgentRunner } from '../services/agent-runner/config.ts';
import { Config as Gateway } from '../services/gateway/config.ts';
import { Config as LlmProxy } from '../services/llm-proxy/config.ts';
import { Config as Scheduler } from '../services/scheduler/config.ts';
import { Config as Store } from '../services/store/config.ts';

// The stack's first container: no other starts before it has ended well. It reads every setting by the schema of the service that
// takes it, and writes the password of NATS, and the token of the sandboxes, where those find them that need them.

const passwordFile = '/data/nats-auth/password';
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

/** Keeps the password that is there, where none was set: NATS and the services all read this file. */
function writePassword(): void {
  const { NATS_PASSWORD } = readSettings(Secrets, process.env);
  if (!NATS_PASSWORD && existsSync(passwordFile)) return;
  const password = NATS_PASSWORD ?? randomBytes(24).toString('hex');
  if (existsSync(passwordFile) && readFileSync(passwordFile, 'utf8') === password) return;
  writeFileSync(`${passwordFile}.new`, password, { mode: 0o400 });
  renameSync(`${passwordFile}.new`, passwordFile);
}

const schemas: z.ZodObject[] = [Gateway, Scheduler, AgentRunner, LlmProxy, Store, Secrets];
if (process.argv.includes('--production')) schemas.push(Production);
const problems = new Set(schemas.flatMap(problemsOf));
if (problems.size > 0) {
  process.stderr.write('These settings keep the stack from starting. Mend them in .env, then: docker compose up -d\n');
  for (const problem of problems) process.stderr.write(`  ${problem}\n`);
  process.exit(1);
}
writePassword();
if (!existsSync(sandboxToken)) writeFileSync(sandboxToken, randomBytes(32).toString('hex'), { mode: 0o400 });
process.stdout.write('The settings are in order.\n');
