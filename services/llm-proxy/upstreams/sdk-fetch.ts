import type { Response as Answered, Dispatcher } from 'undici';
import { fetch as fetchOver } from 'undici';

const hopsMax = 3;
/** The SDK reads an error whole, however long it is and whatever it unpacks to. */
const errorBytesMax = 1_048_576;
/** The greatest that the class of Node's takes. */
const statusMax = 599;

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
  const stream = hasBody ? (body as ReadableStream<Uint8Array> | null) : null;
  const said = status === 200 ? stream : stream && beginningOf(stream);
  return new Response(said, { status: Math.min(status, statusMax), statusText, headers: Object.fromEntries(headers) });
}

/** As much as an error may have; behind that the connection is given up. */
function beginningOf(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  let left = errorBytesMax;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(part, to) {
        to.enqueue(part.subarray(0, left));
        left -= part.length;
        if (left <= 0) to.terminate();
      },
    }),
  );
}

/** Where the same request is to be made again, if it stays within the origin. */
function redirectOf({ status, headers }: Response, from: URL): URL | undefined {
  const location = status === 307 || status === 308 ? headers.get('location') : null;
  const next = location === null ? undefined : URL.parse(location, from.href);
  return next?.origin === from.origin ? next : undefined;
}
