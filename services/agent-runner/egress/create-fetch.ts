import { pairsOf } from '#shared/egress/headers.ts';
import type { Answer } from '#shared/egress/send.ts';
import type { Egress } from './egress.ts';

export type FetchLike = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

const bodiless = new Set([204, 205, 304]);

/** A `fetch` under an agent's rules, for clients that want one. Its answers stream, and may be silent for `idleMs`. */
export const createFetch =
  (egress: Pick<Egress, 'send'>, { idleMs = 300_000 }: { idleMs?: number } = {}): FetchLike =>
  async (input, init) => {
    const request = new Request(input, init);
    const { method, signal, redirect } = request;
    const body = new Uint8Array(await request.arrayBuffer());
    const sending = { method, headers: [...request.headers].flat(), body, signal, idleMs };
    const answer = await egress.send(new URL(request.url), sending, redirect);
    return responseOf(answer, method, new URL(answer.url).href !== request.url);
  };

function responseOf(answer: Answer, method: string, redirected: boolean): Response {
  const { status, headers, url } = answer;
  const hasBody = method !== 'HEAD' && !bodiless.has(status);
  if (!hasBody) answer.cancel();
  const response = new Response(hasBody ? streamOf(answer) : null, { status, headers: pairsOf(headers) });
  return Object.defineProperties(response, { url: { value: url }, redirected: { value: redirected } });
}

const streamOf = ({ body, cancel }: Answer): ReadableStream<Uint8Array<ArrayBuffer>> =>
  new ReadableStream({
    async pull(controller) {
      const { done, value } = await body.next();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
    cancel,
  });
