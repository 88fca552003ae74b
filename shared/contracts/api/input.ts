import { z } from 'zod';

/** A number in a path, a query or a header: digits alone, for `Number` also takes "", " 7 " and "0x7". */
export const wholeNumber = (min: number, max: number) =>
  z.preprocess((value: string | number, context) => {
    const number = /^\d{1,16}$/.test(String(value)) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    context.addIssue({ code: 'custom', message: `must be a whole number from ${min} to ${max}` });
    return z.NEVER;
  }, z.number().int().min(min).max(max));

/** A place in the log. */
export const Sequence = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** A time of any zone, as the log has it: in UTC. */
export const Time = z.iso
  .datetime({ offset: true, message: 'must be a time such as "2026-01-31T06:00:00Z"' })
  .transform((time) => new Date(time).toISOString());

/** Why a person does what they do, for the log; it may be left out. */
export const Reason = z
  .strictObject({
    reason: z.string().min(1, 'must not be empty').max(500, 'must be at most 500 characters').optional(),
  })
  .optional();

/** What makes a request that is sent twice count once. */
export const onceHeaders = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 visible characters')
    .optional()
    .describe('Of your own: the same request with it is done once within a day'),
});

/** How long one would rather wait than hear that something is under way. */
export const preferHeaders = z.object({
  Prefer: z
    .string()
    .optional()
    .describe('`wait=30`: answer with the run as it ended, if it does within so many seconds'),
});
