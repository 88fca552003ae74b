import type { IncomingHttpHeaders } from 'node:http';
import type { Credentials, Versions } from '../pivot.ts';

/**
 * The version that we write bodies for and read answers in. The SDK speaks 2026-10-21 (1.12), under which a temperature is refused; servers
 * that speak alike know this one, and Anthropic's own takes it as before (2026-11-30).
 */
const version = '2023-06-01';

/**
 * Which header holds the key. Anthropic documents `x-api-key`, and Bearer for tokens that live for an hour ("Authentication",
 * platform.claude.com). Of the servers that speak alike, some read `x-api-key` alone and some Bearer alone, as vLLM 0.26 and Ollama's cloud
 * do: they are given both (2026-11-30).
 */
export const credentialHeaders = ({ key, official }: Credentials): Record<string, string> => ({
  'x-api-key': key,
  ...(official ? {} : { authorization: `Bearer ${key}` }),
});

/** For a body that we have written. */
export const versionHeaders: Record<string, string> = { 'anthropic-version': version };

/** What a client of this wire says of versions, which goes through. */
export function readVersions(headers: IncomingHttpHeaders, query: string): Versions {
  const given = headers['anthropic-version'];
  const beta = headers['anthropic-beta'];
  return {
    headers: {
      'anthropic-version': typeof given === 'string' ? given : version,
      ...(beta === undefined ? {} : { 'anthropic-beta': String(beta) }),
    },
    query: query === '?beta=true' ? query : '',
  };
}
