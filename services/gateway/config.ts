import type { z } from 'zod';
import { EgressExempt } from '#shared/egress/exempt.ts';
import { createRules, exemptions } from '#shared/egress/rules.ts';
import { CommonConfig, setting } from '#shared/settings.ts';
import { Hosts } from './hosts.ts';
import { Origins } from './origins.ts';

const ownSecret = setting.ownSecret(32, 'openssl rand -base64 48');

/** What is wrong with the secret that tokens are signed with. */
function secretProblems({ JWT_SECRET, JWT_JWKS_URL, TOKA_DEV }: Secret): string[] {
  if (TOKA_DEV || (JWT_SECRET === undefined && JWT_JWKS_URL !== undefined)) return [];
  return ownSecret.safeParse(JWT_SECRET).error?.issues.map(({ message }) => message) ?? [];
}
/** It goes on to sign what counts: as little may be known of it. */
function previousProblems({ JWT_SECRET, JWT_SECRET_PREVIOUS, TOKA_DEV }: Secret): string[] {
  if (JWT_SECRET_PREVIOUS === undefined) return [];
  if (JWT_SECRET === undefined) return ['goes only with JWT_SECRET, which has replaced it'];
  return TOKA_DEV ? [] : (ownSecret.safeParse(JWT_SECRET_PREVIOUS).error?.issues.map(({ message }) => message) ?? []);
}
type Secret = {
  JWT_SECRET_PREVIOUS?: string | undefined;
  JWT_SECRET?: string | undefined;
  JWT_JWKS_URL?: string | undefined;
  TOKA_DEV: boolean;
};

const isOfThisMachine = (host: string) => /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(host);

/** Keys that come by plain HTTP could be anyone's. */
function isConfidential(value: string): boolean {
  const url = URL.parse(value);
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isOfThisMachine(url.hostname));
}

function areExemptions(text: string): boolean {
  try {
    createRules([], exemptions(text));
    return true;
  } catch {
    return false;
  }
}

export const Config = CommonConfig.extend({
  /** The Agent API's port; 0 takes any that is free. */
  PORT: setting.integer(0, 65_535).default(8080),
  /** The management API's port; 0 takes any that is free. */
  MANAGEMENT_PORT: setting.integer(0, 65_535).default(9000),
  /** The address that both listen on. */
  HOST: setting.text().default('127.0.0.1'),
  /** PEM files: both APIs are then served by HTTPS only; renewed ones are taken without a restart. */
  TLS_CERT_FILE: setting.text().optional(),
  TLS_KEY_FILE: setting.text().optional(),
  /** What tokens are signed with (HS256); required unless JWT_JWKS_URL says who else signs. */
  JWT_SECRET: setting.secret().optional(),
  /** The one before, for as long as it takes to replace it: its tokens count, and what it sealed is sealed anew. */
  JWT_SECRET_PREVIOUS: setting.secret().optional(),
  /** Where the public keys of tokens with RS256 and ES256 are. */
  JWT_JWKS_URL: setting
    .url()
    .refine(isConfidential, 'must begin with https://, or with http:// for a host of this machine')
    .optional(),
  /** What `iss` and `aud` of a token must be. */
  JWT_ISSUER: setting.text().optional(),
  JWT_AUDIENCE: setting.text().optional(),
  /** For development on this machine: JWT_SECRET may be missing, short or a placeholder. */
  TOKA_DEV: setting.flag().default(false),
  /** Requests of each client in a window of so many seconds; 0: as many as they like. */
  HTTP_RATE_LIMIT_REQUESTS: setting.integer(0, 10_000_000).default(3_000),
  HTTP_RATE_LIMIT_WINDOW: setting.integer(1, 86_400).default(60),
  /** Seconds that a request may take to come in; its headers 15 of them at most. */
  HTTP_REQUEST_TIMEOUT: setting.integer(1, 3_600).default(60),
  /** Host names by which the APIs are reached, beside addresses and names without a dot. */
  ALLOWED_HOSTS: Hosts.default([]),
  /** Whether GET :9000/agents/status and GET /metrics need no token. */
  PUBLIC_STATUS: setting.flag().default(true),
  /** Bytes that a request's body may have. */
  BODY_BYTES_MAX: setting.integer(1_024, 100_000_000).default(1024 ** 2),
  /** Bytes of bodies that may be in memory at a time, of all callers and of each; one of BODY_BYTES_MAX always may. */
  BODIES_BYTES_MAX: setting.integer(1_024, 10_000_000_000).default(64 * 1024 ** 2),
  BODIES_CALLER_BYTES_MAX: setting.integer(1_024, 10_000_000_000).default(16 * 1024 ** 2),
  /** Web pages whose scripts may ask. */
  CORS_ORIGINS: Origins.default([]),
  /** Runs that may be open, whatever they wait for, before more are refused: of all; of each workstream (half of those unless set); of each
   * caller in a workstream (half of these). */
  BACKLOG_MAX: setting.integer(1, 10_000_000).default(100_000),
  BACKLOG_WORKSTREAM_MAX: setting.integer(1, 10_000_000).optional(),
  BACKLOG_CALLER_MAX: setting.integer(1, 10_000_000).optional(),
  /** Event streams and waiting requests that may be open at a time, of all callers and of each. */
  SSE_CLIENTS_MAX: setting.integer(1, 100_000).default(500),
  SSE_CALLER_MAX: setting.integer(1, 100_000).default(100),
  /** Webhooks that there may be. */
  WEBHOOKS_MAX: setting.integer(0, 1_000).default(100),
  /** Seconds in which a receiver must answer. */
  WEBHOOK_TIMEOUT: setting.number(0.1, 120).default(15),
  /** Seconds between tries of a delivery that fails: doubled each time, up to the second value. */
  WEBHOOK_BACKOFF: setting.number(0.01, 3_600).default(5),
  WEBHOOK_BACKOFF_MAX: setting.number(0.01, 86_400).default(600),
  /** A webhook is disabled once it has failed so often in a row, and for so many hours. */
  WEBHOOK_FAILURES_MAX: setting.integer(1, 1_000_000).default(20),
  WEBHOOK_FAILING_HOURS_MAX: setting.number(0, 8_760).default(24),
  /** Private addresses that webhooks may lead to. */
  WEBHOOK_EXEMPT: setting
    .text()
    .refine(areExemptions, 'must be such as "hooks.lan:8443", "10.0.0.5:443" or "10.0.0.0/8", with commas between')
    .optional(),
  /** What the runners let agents reach: whoever writes an agent down is told at once. */
  EGRESS_EXEMPT: EgressExempt,
  /** Whether receivers may be reached by http://, which anyone on the way can read. */
  WEBHOOK_PLAIN_HTTP: setting.flag().default(false),
}).superRefine(({ TLS_CERT_FILE, TLS_KEY_FILE, ...others }, context) => {
  for (const message of secretProblems(others)) context.addIssue({ code: 'custom', path: ['JWT_SECRET'], message });
  for (const message of previousProblems(others))
    context.addIssue({ code: 'custom', path: ['JWT_SECRET_PREVIOUS'], message });
  if (others.TOKA_DEV && !isOfThisMachine(others.HOST))
    context.addIssue({
      code: 'custom',
      path: ['TOKA_DEV'],
      message: 'goes only with HOST=127.0.0.1: anyone could make tokens',
    });
  for (const [name, value, other] of [
    ['TLS_CERT_FILE', TLS_CERT_FILE, TLS_KEY_FILE],
    ['TLS_KEY_FILE', TLS_KEY_FILE, TLS_CERT_FILE],
  ] as const)
    if (!value && other)
      context.addIssue({ code: 'custom', path: [name], message: 'is required where the other is set' });
});
export type Config = z.output<typeof Config>;
