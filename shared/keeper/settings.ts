import { z } from 'zod';
import { setting } from '#shared/settings.ts';

const daysMin = 0.05;
const bytesMin = 16 * 1024 ** 2;

/** How much of what happened stays where: what who keeps the streams goes by. 0: all of it. */
export const KeeperConfig = z.object({
  /** Days that events stay in the log. The archive keeps them for good. */
  EVENTS_MAX_AGE: setting
    .number(0, 36_500)
    .refine((days) => days === 0 || days >= daysMin, `must be 0, or ${daysMin} (more than an hour) or more`)
    .default(0),
  /** Bytes that the log may take; what came within the last hour stays all the same. */
  EVENTS_MAX_BYTES: setting
    .number(0, Number.MAX_SAFE_INTEGER)
    .refine((bytes) => bytes === 0 || bytes >= bytesMin, `must be 0, or ${bytesMin} (16 MiB) or more`)
    .default(0),
  /** Days that deliverables are kept after they were handed in. */
  DELIVERABLES_MAX_AGE: setting.number(0, 36_500).default(0),
});
export type KeeperConfig = z.infer<typeof KeeperConfig>;

export const dayMs = 86_400_000;

/** Deliverables of that time (UTC) and later are kept; null: all. */
export const deliveredSinceOf = (
  { DELIVERABLES_MAX_AGE: days }: Pick<KeeperConfig, 'DELIVERABLES_MAX_AGE'>,
  nowMs: number,
): string | null => (days === 0 ? null : new Date(nowMs - days * dayMs).toISOString());
