import { existsSync, readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import type { z } from 'zod';
import { readAgentsFile } from '#shared/agents-file.ts';
import type { ServiceName } from '#shared/service.ts';
import { aliases } from '#shared/settings.ts';
import { keyNamesIn } from '../../../services/llm-proxy/models/key-names.ts';

export type Environment = Record<string, string>;

/** What any program may need to know of the machine. */
const common = ['PATH', 'HOME', 'TZ', 'LANG', 'TMPDIR', 'NODE_COMPILE_CACHE', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'];
/** Only the service that talks to providers reaches outside. */
const outside = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'NODE_USE_ENV_PROXY',
];

/** The settings of this start: .env, and over it the environment. An empty value is none. */
export function readEnvironment(file: string, environment: Readonly<Record<string, string | undefined>>): Environment {
  const kept = existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {};
  const entries = Object.entries({ ...kept, ...environment });
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''),
  );
}

/** What one service is given: the settings that it has, by any name that it takes, and nothing of the others'. */
export async function environmentOf(service: ServiceName, all: Environment): Promise<Environment> {
  const { Config }: { Config: z.ZodObject } = await import(`../../../services/${service}/config.ts`);
  const names = Object.keys(Config.shape);
  const secrets = secretsOf(service, all);
  const old = Object.entries(aliases).flatMap(([alias, name]) => (names.includes(name) ? [alias] : []));
  const allowed = new Set([
    ...common,
    ...(service === 'llm-proxy' ? outside : []),
    ...names,
    ...[...names, ...secrets].map((name) => `${name}_FILE`),
    ...secrets,
    ...old,
  ]);
  return Object.fromEntries(Object.entries(all).filter(([name]) => allowed.has(name)));
}

/** Variables that are named in the files of configuration: MCP servers' secrets, endpoints' keys. */
function secretsOf(service: ServiceName, { CONFIG_FILE, MODELS_FILE }: Environment): string[] {
  if (service === 'llm-proxy') return keyNamesIn(MODELS_FILE ?? 'config/models.toml');
  if (service !== 'agent-runner') return [];
  return readAgentsFile(CONFIG_FILE ?? 'config/agents.toml').mcpServers.flatMap(({ secrets }) =>
    Object.values(secrets),
  );
}
