import { pairsOf } from '#shared/egress/headers.ts';
import type { Answer, Send, Sending } from '#shared/egress/send.ts';
import { Failure } from '#shared/errors.ts';

export type Redirects = 'follow' | 'error' | 'manual';

const redirectsMax = 5;
const redirects = new Set([301, 302, 303, 307, 308]);
const secrets = new Set(['authorization', 'cookie', 'proxy-authorization']);
const ofBody = new Set(['content-type', 'content-encoding', 'content-language', 'content-location', 'content-length']);

/** Sends, and goes where the answer says: each hop is a request of its own, checked like the first. */
export async function follow(send: Send, first: URL, sending: Sending, mode: Redirects = 'follow'): Promise<Answer> {
  let url = first;
  let next = sending;
  for (let hops = 0; ; hops++) {
    const answer = await send(url, next);
    const location = redirects.has(answer.status) ? headerOf(answer.headers, 'location') : undefined;
    if (location === undefined || mode === 'manual') return answer;
    answer.cancel();
    if (mode === 'error') throw new Failure('upstream', `${url.host}: answered with a redirect`);
    if (hops === redirectsMax) throw new Failure('upstream', `${first.host}: more than ${redirectsMax} redirects`);
    const to = URL.parse(location, url.href);
    if (!to) throw new Failure('upstream', `${url.host}: redirects to what is no URL`);
    next = redirected(next, answer.status, to.origin === url.origin);
    url = to;
  }
}

function redirected(sending: Sending, status: number, isSameOrigin: boolean): Sending {
  const { method } = sending;
  const becomesGet = status === 303 ? method !== 'HEAD' : status < 303 && method === 'POST';
  const headers = pairsOf(sending.headers).filter(([name]) => {
    const lower = name.toLowerCase();
    return (isSameOrigin || !secrets.has(lower)) && !(becomesGet && ofBody.has(lower));
  });
  const body = becomesGet ? new Uint8Array() : sending.body;
  return { ...sending, method: becomesGet ? 'GET' : method, body, headers: headers.flat() };
}

const headerOf = (headers: readonly string[], wanted: string) =>
  pairsOf(headers).find(([name]) => name.toLowerCase() === wanted)?.[1];
