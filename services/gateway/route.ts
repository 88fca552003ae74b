import type { Context } from 'koa';
import type { z } from 'zod';
import type { Answer, Declared, Endpoint } from '#shared/contracts/api/endpoint.ts';
import { endpoint } from '#shared/contracts/api/endpoint.ts';
import type { Caller } from './auth.ts';
import { parse } from './input.ts';
import type { Claim } from './once.ts';
import type { TenantBus } from './tenant-bus.ts';

/** What a handler is given: parsed and checked. */
export type Call<P, Q, H, B> = {
  params: P;
  query: Q;
  headers: H;
  body: B;
  caller: Caller;
  /** What the caller may see of the bus. */
  bus: TenantBus;
  ctx: Context;
  once?: Claim | undefined;
};

/** An endpoint with what serves it. `read` checks a body, and throws `invalid` with every field that is wrong. */
export type Route = Endpoint & {
  read(value: unknown): unknown;
  handle(call: Call<never, never, never, never>): unknown;
};

type BodyOf<B extends z.ZodType | null> = B extends z.ZodType ? z.output<B> : undefined;

type Served<P extends z.ZodObject, Q extends z.ZodObject, H extends z.ZodObject, B extends z.ZodType | null> = Declared<
  P,
  Q,
  H,
  B,
  Answer
> & {
  /** Where more than its schema has to be checked. */
  read?(value: unknown): BodyOf<B>;
  handle(call: Call<z.output<P>, z.output<Q>, z.output<H>, BodyOf<B>>): unknown;
};

/** A row of the API whose handler is typed by what is declared of it. */
export const route = <
  P extends z.ZodObject,
  Q extends z.ZodObject,
  H extends z.ZodObject,
  B extends z.ZodType | null = null,
>({
  read,
  handle,
  ...declared
}: Served<P, Q, H, B>): Route => {
  const { body = null } = declared;
  return {
    ...endpoint<z.ZodObject, z.ZodObject, z.ZodObject, z.ZodType | null, Answer>(declared),
    read: read ?? ((value) => (body ? parse(body, value, 'the body') : undefined)),
    handle: handle as Route['handle'],
  };
};

/** Parses all that a request says to a route. */
export const readCall = ({ params, query, headers, body, read }: Route, ctx: Context, json: unknown) => ({
  params: parse(params, { ...ctx.params }, 'the path'),
  query: parse(query, { ...ctx.query }, 'the query'),
  headers: parse(headers, pick(ctx, Object.keys(headers.shape)), 'the headers'),
  body: body ? read(json) : undefined,
});

/** An empty header is none. */
const pick = (ctx: Context, names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, ctx.get(name) || undefined]));
