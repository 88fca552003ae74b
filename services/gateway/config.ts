import type { z } from 'zod';
import { CommonConfig, setting } from '#shared/settings.ts';

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
  /** What tokens are signed with (HS256). */
  JWT_SECRET: setting.ownSecret(32, 'openssl rand -base64 48'),
  /** Whether GET :9000/agents/status needs no token. */
  PUBLIC_STATUS: setting.flag().default(true),
  /** Bytes that a request's body may have. */
  BODY_BYTES_MAX: setting.integer(1_024, 100_000_000).default(1024 ** 2),
  /** Runs that may wait for a runner before more are refused. */
  BACKLOG_MAX: setting.integer(1, 10_000_000).default(100_000),
  /** Event streams that may be open at a time. */
  SSE_CLIENTS_MAX: setting.integer(1, 100_000).default(500),
}).superRefine(({ TLS_CERT_FILE, TLS_KEY_FILE }, context) => {
  for (const [name, value, other] of [
    ['TLS_CERT_FILE', TLS_CERT_FILE, TLS_KEY_FILE],
    ['TLS_KEY_FILE', TLS_KEY_FILE, TLS_CERT_FILE],
  ] as const)
    if (!value && other)
      context.addIssue({ code: 'custom', path: [name], message: 'is required where the other is set' });
});
export type Config = z.output<typeof Config>;
