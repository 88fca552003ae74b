import type { Context } from 'koa';
import { z } from 'zod';
import type { Problem } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import { describe } from '#shared/field-problems.ts';
import type { Caller, Scope } from './auth.ts';

/** How a body is read: `schema` documents it, `read` checks it and throws `invalid` with every field that is wrong. */
export type Body<T> = { schema: z.ZodType; read(value: unknown): T };

/** What a handler is given: parsed and checked. */
export type Call<P, Q, B> = { params: P; query: Q; body: B; caller: Caller; ctx: Context };

/** What a route answers with: JSON of a schema, or bytes of a media type. */
export type Answer = z.ZodType | { mediaType: string } | null;

/** One row of the API: it is served and documented from here. */
export type Route = {
  method: 'get' | 'post' | 'put' | 'delete';
  /** With `:name` for what is in `params`. */
  path: string;
  /** Null: anyone may. */
  scope: Scope | null;
  summary: string;
  params: z.ZodObject;
  query: z.ZodObject;
  body: Body<unknown> | null;
  status: number;
  answer: Answer;
  handle(call: Call<never, never, never>): unknown;
};

const none = z.object({});

type Definition<P extends z.ZodObject, Q extends z.ZodObject, B> = Pick<
  Route,
  'method' | 'path' | 'scope' | 'summary'
> & {
  params?: P;
  query?: Q;
  body?: Body<B>;
  status?: number;
  answer: Answer;
  handle(call: Call<z.output<P>, z.output<Q>, B>): unknown;
};

export const route = <P extends z.ZodObject = typeof none, Q extends z.ZodObject = typeof none, B = undefined>(
  definition: Definition<P, Q, B>,
): Route => ({
  status: 200,
  ...definition,
  params: definition.params ?? none,
  query: definition.query ?? none,
  body: definition.body ?? null,
  handle: definition.handle as Route['handle'],
});

/** A body that its schema alone checks. */
export const bodyOf = <S extends z.ZodType>(schema: S): Body<z.output<S>> => ({
  schema,
  read: (value) => parse(schema, value, 'the body'),
});

/** Parses what a caller sent. Throws `invalid` with every field that is wrong. */
export function parse<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.flatMap((issue) => describe(issue, schema, value));
  throw refusal(problems.map(({ path, message }) => ({ field: path.join('.') || what, message })));
}

/** The refusal of an input, with all that is wrong with it. */
export const refusal = (problems: Problem[]) =>
  new Failure('invalid', problems.map(({ field, message }) => `${field} ${message}`).join('; '), { problems });
