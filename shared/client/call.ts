import type { z } from 'zod';
import type { Endpoint } from '#shared/contracts/api/endpoint.ts';
import { Failure } from '#shared/errors.ts';

type Fields<O extends z.ZodObject> = keyof O['shape'] extends never ? unknown : z.input<O>;
type BodyOf<B> = B extends z.ZodType
  ? undefined extends z.input<B>
    ? { body?: z.input<B> }
    : { body: z.input<B> }
  : unknown;
type Flat<T> = { [K in keyof T]: T[K] };

/** What an endpoint is given: the fields of its path, query and headers by their names, and `body`. */
export type Input<E extends Endpoint> = Flat<
  Fields<E['params']> & Fields<E['query']> & Fields<E['headers']> & BodyOf<E['body']>
>;

/** What comes of it; what is no JSON comes as the response, whose bytes are not read yet. */
export type Output<E extends Endpoint> = E['answer'] extends z.ZodType
  ? z.output<E['answer']>
  : E['answer'] extends null
    ? undefined
    : Response;

export type Fetch = { path: string; method: string; headers: Headers; body: string | undefined };

/** A call of an endpoint as an HTTP request. Throws `invalid` for a name that no path can hold. */
export function toRequest(endpoint: Endpoint, input: Readonly<Record<string, unknown>>): Fetch {
  const query = new URLSearchParams();
  const headers = new Headers({ Accept: 'application/json, application/problem+json, */*;q=0.1' });
  for (const [name, value] of Object.entries(input)) {
    if (value === undefined || name === 'body' || name in endpoint.params.shape) continue;
    if (name in endpoint.headers.shape) headers.set(name, String(value));
    else query.set(name, String(value));
  }
  const path = endpoint.path.replace(/:(\w+)/g, (_, name) => segment(name, String(input[name] ?? '')));
  if (input.body !== undefined) headers.set('Content-Type', 'application/json');
  return {
    path: query.size > 0 ? `${path}?${query}` : path,
    method: endpoint.method.toUpperCase(),
    headers,
    body: input.body === undefined ? undefined : JSON.stringify(input.body),
  };
}

/** Whatever reads a URL takes a segment of dots for a way up, however it is written. */
function segment(name: string, value: string): string {
  if (/^\.{0,2}$/.test(value))
    throw new Failure('invalid', `${name} must not be ${JSON.stringify(value)}`, {
      problems: [{ field: name, message: `must not be ${JSON.stringify(value)}` }],
    });
  return encodeURIComponent(value);
}
