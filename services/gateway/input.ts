import { z } from 'zod';
import type { Problem } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import type { Located } from '#shared/field-problems.ts';
import { describe } from '#shared/field-problems.ts';
import { clip } from '#shared/text.ts';

const problemsMax = 50;
const messageMax = 500;

/** How a body is read: `schema` documents it, `read` checks it and throws `invalid` with every field that is wrong. */
export type Body<T> = { schema: z.ZodType; read(value: unknown): T };

/** A body that its schema alone checks. */
export const bodyOf = <S extends z.ZodType>(schema: S): Body<z.output<S>> => ({
  schema,
  read: (value) => parse(schema, value, 'the body'),
});

/** Why a person does what they do, for the log; it may be left out. */
export const reasonBody = bodyOf(
  z
    .strictObject({
      reason: z.string().min(1, 'must not be empty').max(500, 'must be at most 500 characters').optional(),
    })
    .optional(),
);

/** Parses what a caller sent. Throws `invalid` with every field that is wrong. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw refusalAt(
    parsed.error.issues.flatMap((issue) => describe(issue, schema, value)),
    what,
  );
}

/** As `refusal`, for problems that know their path; the root is called `what`. */
export const refusalAt = (problems: readonly Located[], what: string): Failure =>
  refusal(problems.map(({ path, message }) => ({ field: path.join('.') || what, message })));

/** The refusal of an input, with what is wrong with it: as much of it as a person reads, for the input may be hostile. */
export function refusal(problems: readonly Problem[]): Failure {
  const shown = problems.slice(0, problemsMax).map(({ field, message }) => ({
    field: clip(field, messageMax),
    message: clip(message, messageMax),
  }));
  const more = problems.length - shown.length;
  const lines = shown.map(({ field, message }) => `${field} ${message}`);
  const detail = [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
  return new Failure('invalid', detail, { problems: shown });
}

/** A number in a path, a query or a header: digits alone, for `Number` also takes "", " 7 " and "0x7". */
export const wholeNumber = (min: number, max: number) =>
  z.preprocess((value, context) => {
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

/** What makes a request that is sent twice count once. */
export const onceHeaders = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 visible characters')
    .optional(),
});
