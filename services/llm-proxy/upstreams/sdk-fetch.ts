import type { Response as Answered, Dispatcher } from 'undici';
import { fetch as fetchOver } from 'undici';

const hopsMax = 3;

/**
 * `fetch` for an SDK's client, which is made without the key: each request is given the credentials that the endpoint has then, as a client
 * would keep a copy that nobody overwrites. It goes over the endpoint's own connections, and is led elsewhere within its origin only: to
 * any other the key would go along.
 */
export function fetchFor(dispatcher: Dispatcher, ownHeaders: () => Record<string, string>): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.delete('authorization');
    for (const [name, value] of Object.entries(ownHeaders())) headers.set(name, value);
    const options = { ...init, headers: Object.fromEntries(headers), redirect: 'manual', dispatcher };
    let url = new URL(String(input));
    for (let hops = 0; ; hops++) {
      const response = toNode(await fetchOver(url, options as never));
      const next = hops < hopsMax ? redirectOf(response, url) : undefined;
      if (!next) return response;
      await response.body?.cancel();
      url = next;
    }
  };
}

/** The package's classes are not those that Node has in the same names, which is what others look for. */
function toNode({ status, statusText, headers, body }: Answered): Response {
  const hasBody = status !== 204 && status !== 205 && status !== 304;
  const stream = hasBody ? (body as ReadableStream | null) : null;
  return new Response(stream, { status, statusText, headers: Object.fromEntries(headers) });
}

/** Where the same request is to be made again, if it stays within the origin. */
function redirectOf({ status, headers }: Response, from: URL): URL | undefined {
  const location = status === 307 || status === 308 ? headers.get('location') : null;
  const next = location === null ? undefined : URL.parse(location, from.href);
  return next?.origin === from.origin ? next : undefined;
}
