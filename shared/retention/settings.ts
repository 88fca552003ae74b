import { z } from 'zod';
import { setting } from '#shared/settings.ts';

/** Of the process that has the admin's rights, and collects. */
export const ArtifactSettings = z.object({
  /** Days that deliverables are kept after they were handed in; 0: for ever. */
  DELIVERABLES_MAX_AGE: setting.number(0, 36_500).default(0),
});
export type ArtifactSettings = z.output<typeof ArtifactSettings>;

const dayMs = 86_400_000;

/** Deliverables of that time (UTC) and later are kept; null: all. */
export const deliveredSinceOf = ({ DELIVERABLES_MAX_AGE: days }: ArtifactSettings, nowMs: number): string | null =>
  days === 0 ? null : new Date(nowMs - days * dayMs).toISOString();
