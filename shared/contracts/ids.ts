import { z } from 'zod';

/** An agent's id is its name: unique by its subject, safe in a URL, a file name and a metric's label. */
export const AgentId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and "-", and start with a letter or a digit');

const ulid = '[0-9A-HJKMNP-TV-Z]{26}';
/** Ids such as `run_` and a ULID. */
export const prefixed = (prefix: string) =>
  z.string().regex(new RegExp(`^${prefix}_${ulid}$`), `must be "${prefix}_" and a ULID`);

export const RunId = prefixed('run');
export const EventId = prefixed('evt');
export const MemoryId = prefixed('mem');
export const KeyId = prefixed('key');
export const WebhookId = prefixed('whk');
export const Seq = z.number().int().nonnegative();

export const Priority = z.enum(['critical', 'high', 'medium', 'low']);
export type Priority = z.infer<typeof Priority>;
export const priorities = Priority.options;
