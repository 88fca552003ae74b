import type { Context } from 'koa';
import { z } from 'zod';
import type { Caller, Scope } from './auth.ts';
import type { Body } from './input.ts';
import { onceHeaders, parse } from './input.ts';
import type { Claim } from './once.ts';

/** What a handler is given: parsed and checked. */
export type Call<P, Q, H, B> = {
  params: P;
  query: Q;
  headers: H;
  body: B;
  caller: Caller;
  ctx: Context;
  once?: Claim | undefined;
};

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
  /** The request headers that count, by their names. */
  headers: z.ZodObject;
  body: Body<unknown> | null;
  status: number;
  answer: Answer;
  /** The answer is for its first reader alone: with an Idempotency-Key, too, it is given once. */
  isSecret: boolean;
  /** Answers a run, and with `Prefer: wait=<s>` waits for its end. */
  waits: boolean;
  handle(call: Call<never, never, never, never>): unknown;
};

const none = z.strictObject({});

type Definition<P extends z.ZodObject, Q extends z.ZodObject, H extends z.ZodObject, B> = Pick<
  Route,
  'method' | 'path' | 'scope' | 'summary'
> & {
  params?: P;
  query?: Q;
  headers?: H;
  body?: Body<B>;
  status?: number;
  answer: Answer;
  isSecret?: boolean;
  waits?: boolean;
  handle(call: Call<z.output<P>, z.output<Q>, z.output<H>, B>): unknown;
};

/** A row of the API whose handler is typed by its schemas. */
export const route = <
  P extends z.ZodObject = typeof none,
  Q extends z.ZodObject = typeof none,
  H extends z.ZodObject = typeof none,
  B = undefined,
>(
  definition: Definition<P, Q, H, B>,
): Route => ({
  status: 200,
  isSecret: false,
  waits: false,
  ...definition,
  params: definition.params ?? none,
  query: definition.query ?? none,
  headers: withOwn(definition.headers ?? none, definition.method),
  body: definition.body ?? null,
  handle: definition.handle as Route['handle'],
});

/** Every POST takes an Idempotency-Key. */
const withOwn = (headers: z.ZodObject, method: Route['method']) =>
  method === 'post' ? headers.extend(onceHeaders.shape) : headers;

/** Parses all that a request says to a route. */
export const readCall = ({ params, query, headers, body }: Route, ctx: Context, json: unknown) => ({
  params: parse(params, { ...ctx.params }, 'the path'),
  query: parse(query, { ...ctx.query }, 'the query'),
  headers: parse(headers, pick(ctx, Object.keys(headers.shape)), 'the headers'),
  body: body?.read(json),
});

/** An empty header is none. */
const pick = (ctx: Context, names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, ctx.get(name) || undefined]));
