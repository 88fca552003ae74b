import type { z } from 'zod';
import { CommonConfig, setting } from '#shared/settings.ts';

export const Config = CommonConfig.extend({
  /** The SQLite file; its folder is made where it is missing. */
  DATABASE_FILE: setting.text().default('.toka/store/toka.sqlite'),
  /** Monitoring ports of the NATS servers, with commas between; their state goes into the metrics. */
  NATS_MONITOR_URL: setting
    .text()
    .refine(
      (value) => value.split(',').every((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? '')),
      'must be http:// URLs with commas between',
    )
    .optional(),
  /** Seconds between two checks of the hash chain over all events; 0: only when asked. */
  AUDIT_VERIFY_INTERVAL: setting.number(0, 31_536_000).default(86_400),
});
export type Config = z.output<typeof Config>;
