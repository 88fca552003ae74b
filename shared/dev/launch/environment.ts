import { existsSync, readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import type { z } from 'zod';
import { readAgentsFile } from '#shared/agents-file.ts';
import type { ServiceName } from '#shared/service.ts';
import { aliases } from '#shared/settings.ts';

export type Environment = Record<string, string>;

/** What any program may need to know of the machine. */
const common = ['PATH', 'HOME', 'TZ', 'LANG', 'TMPDIR', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'];
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
  const secrets = service === 'agent-runner' ? secretNames(all.CONFIG_FILE ?? 'config/agents.toml') : [];
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

/** Variables that MCP servers are given as secrets. */
const secretNames = (file: string): string[] =>
  readAgentsFile(file).mcpServers.flatMap(({ secrets }) => Object.values(secrets));
