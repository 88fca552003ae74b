import { z } from 'zod';
import type { Problem } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
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

/** Parses what a caller sent. Throws `invalid` with every field that is wrong. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value, { error: describe });
  if (parsed.success) return parsed.data;
  throw refusal(
    parsed.error.issues.map((issue) => {
      const field = issue.path.map(String).join('.');
      const name =
        issue.code === 'unrecognized_keys' ? [field, issue.keys.join(', ')].filter(Boolean).join('.') : field;
      return { field: name || what, message: issue.message };
    }),
  );
}

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

/** What to say where a schema has no words of its own. */
function describe(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'unrecognized_keys':
      return 'is not known here';
    case 'invalid_type':
      return issue.input === undefined
        ? `is required: ${article(issue.expected)}`
        : `must be ${article(issue.expected)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.join(', ')}`;
    case 'too_small':
      return `must ${issue.origin === 'string' ? 'have' : 'be'} at least ${issue.minimum}${unit(issue.origin)}`;
    case 'too_big':
      return `must ${issue.origin === 'string' ? 'have' : 'be'} at most ${issue.maximum}${unit(issue.origin)}`;
    default:
      return undefined;
  }
}

const unit = (origin: string) => (origin === 'string' ? ' characters' : '');

const article = (type: string) =>
  ({ string: 'a text', number: 'a number', int: 'a whole number', object: 'a JSON object', boolean: 'true or false' })[
    type
  ] ?? type;

/** A number in a path, a query or a header: digits alone, for `Number` also takes "", " 7 " and "0x7". */
export function wholeNumber(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  const number = z.coerce.number(message).int(message).min(min, message).max(max, message);
  return z.preprocess((value) => (/^\d{1,16}$/.test(String(value)) ? value : Number.NaN), number);
}

/** A place in the log. */
export const Sequence = wholeNumber(0, Number.MAX_SAFE_INTEGER);
