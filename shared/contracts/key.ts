import { z } from 'zod';
import { name } from './name.ts';

/** What all calls with a key may take together in any `window` (seconds). */
const KeyLimits = z
  .strictObject({
    requests: z.number().int().min(1).max(1_000_000_000).optional(),
    tokens: z.number().int().min(1).max(1_000_000_000_000).optional(),
    window: z.number().int().min(1).max(86_400).default(60),
  })
  .refine(({ requests, tokens }) => requests !== undefined || tokens !== undefined, {
    message: 'must have "requests", "tokens" or both',
  });

/** What they may cost in a day or a month of UTC. */
const KeyBudget = z.strictObject({
  usd: z.number().positive('must be more than 0').max(1_000_000),
  per: z.enum(['day', 'month']),
});

/** What a client key is for and what it may do: what a person says who mints one. */
export const KeyTerms = z.strictObject({
  name: name(100),
  /** Names and aliases of models, with `*` for any part of one; none: every model. */
  models: z
    .array(z.string().regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 visible characters without spaces'))
    .max(100, 'must be at most 100 models')
    .default([]),
  limits: KeyLimits.nullable().default(null),
  budget: KeyBudget.nullable().default(null),
  /** Whose work its calls are. */
  workstream: name(100).nullable().default(null),
  /** From then on it does not count; null: it counts until it is revoked. */
  expiresAt: z.iso
    .datetime({ offset: true, error: 'must be a time such as "2027-01-31T12:00:00Z"' })
    .nullable()
    .default(null),
});
export type KeyTerms = z.infer<typeof KeyTerms>;

/** The SHA-256 of a key's secret, in hexadecimal: the secret itself is kept nowhere. */
export const KeyHash = z.string().regex(/^[0-9a-f]{64}$/);
