import type { z } from 'zod';
import type { Problem } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import type { Located } from '#shared/field-problems.ts';
import { describe } from '#shared/field-problems.ts';
import { clip } from '#shared/text.ts';

const problemsMax = 50;
const messageMax = 500;

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
