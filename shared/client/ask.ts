import { Failure, isTransient, messageOf } from '#shared/errors.ts';
import type { Fetch } from './call.ts';
import { backOff, sleep } from './patience.ts';
import { failureIn } from './problem.ts';

/** Where the API is, and who asks. */
export type Connection = {
  /** Such as http://localhost:8080; a path before the API's own may follow. */
  url: string;
  /** A token, or what gives one; it is asked before each request. */
  token?: string | (() => string | Promise<string>) | undefined;
};

/** Asks once. Throws a Failure for whatever is no answer: with the gateway's code and fields, or `unavailable` where nobody answers. */
export async function ask(connection: Connection, { path, ...request }: Fetch, signal: AbortSignal): Promise<Response> {
  const { url, token } = connection;
  const bearer = typeof token === 'function' ? await token() : token;
  const headers = new Headers(request.headers);
  if (bearer) headers.set('Authorization', `Bearer ${bearer}`);
  const response = await fetch(url.replace(/\/+$/, '') + path, {
    method: request.method,
    headers,
    signal,
    redirect: 'error', // the token is for this gateway alone
    ...(request.body === undefined ? {} : { body: request.body }),
  }).catch((error: unknown) => {
    signal.throwIfAborted();
    const reason = error instanceof Error && error.cause ? error.cause : error;
    throw new Failure('unavailable', `nobody answers on ${url}: ${messageOf(reason)}`, { cause: error });
  });
  if (!response.ok) throw await failureIn(response);
  return response;
}

/** As `ask`, and again up to `retries` times where that may help, as long as nobody is told to wait longer than `signal` lets them. */
export async function askPatiently(connection: Connection, request: Fetch, retries: number, signal: AbortSignal) {
  for (let failures = 0; ; failures++) {
    try {
      return await ask(connection, request, signal);
    } catch (error) {
      if (failures >= retries || !isTransient(error)) throw error;
      const { retryAfterMs = 0 } = error as Failure;
      if (retryAfterMs > retryAfterMsMax) throw error;
      await sleep(Math.max(retryAfterMs, backOff(failures)), signal);
    }
  }
}

const retryAfterMsMax = 10_000;
