import { z } from 'zod';
import { onceHeaders, preferHeaders } from './input.ts';

export const scopes = [
  'agents:read',
  'agents:write',
  'runs:read',
  'runs:write',
  'approvals:write',
  'events:read',
  'usage:read',
  'admin',
] as const;
export type Scope = (typeof scopes)[number];

/** What an endpoint answers with: JSON of a schema, bytes of a media type, or nothing. */
export type Answer = z.ZodType | { mediaType: string } | null;

/** One row of the API: it is served, documented and called from here. */
export type Endpoint<
  P extends z.ZodObject = z.ZodObject,
  Q extends z.ZodObject = z.ZodObject,
  H extends z.ZodObject = z.ZodObject,
  B extends z.ZodType | null = z.ZodType | null,
  A extends Answer = Answer,
> = {
  method: 'get' | 'post' | 'put' | 'delete';
  /** With `:name` for what is in `params`. */
  path: string;
  /** Null: anyone may. */
  scope: Scope | null;
  summary: string;
  params: P;
  query: Q;
  /** The request headers that count, by their names. */
  headers: H;
  body: B;
  status: number;
  answer: A;
  /** The answer is for its first reader alone: with an Idempotency-Key, too, it is given once. */
  isSecret: boolean;
  /** Answers a run, and with `Prefer: wait=<s>` waits for its end. */
  waits: boolean;
  /** It answers with what is not kept for ever: there may be no more than a word that it has gone. */
  ages: boolean;
};

const none = z.strictObject({});
type None = typeof none;

/** What has to be said of an endpoint. */
export type Declared<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  H extends z.ZodObject,
  B extends z.ZodType | null,
  A extends Answer,
> = Pick<Endpoint<P, Q, H, B, A>, 'method' | 'path' | 'scope' | 'summary' | 'answer'> &
  Partial<Endpoint<P, Q, H, B, A>>;

/** Declares an endpoint. */
export const endpoint = <
  P extends z.ZodObject = None,
  Q extends z.ZodObject = None,
  H extends z.ZodObject = None,
  B extends z.ZodType | null = null,
  A extends Answer = null,
>(
  declared: Declared<P, Q, H, B, A>,
): Endpoint<P, Q, H, B, A> => ({
  params: none as z.ZodObject as P,
  query: none as z.ZodObject as Q,
  body: null as B,
  status: 200,
  isSecret: false,
  waits: false,
  ages: false,
  ...declared,
  headers: withOwn(declared) as z.ZodObject as H,
});

/** Every POST takes an Idempotency-Key. */
const withOwn = ({ headers = none, method, waits }: Pick<Partial<Endpoint>, 'headers' | 'method' | 'waits'>) => {
  const own = method === 'post' ? headers.extend(onceHeaders.shape) : headers;
  return waits ? own.extend(preferHeaders.shape) : own;
};
