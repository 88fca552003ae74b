import type { Duplex } from 'node:stream';
import type { Traffic } from '#shared/egress/dialer.ts';
import { openDialer } from '#shared/egress/dialer.ts';
import type { Denied } from '#shared/egress/routes.ts';
import { createRoutes } from '#shared/egress/routes.ts';
import { createRules } from '#shared/egress/rules.ts';
import type { Answer, Sending } from '#shared/egress/send.ts';
import { createSend } from '#shared/egress/send.ts';
import type { Fetched, FetchInit } from './fetch.ts';
import { fetchBounded } from './fetch.ts';
import type { Redirects } from './follow.ts';
import { follow } from './follow.ts';
import { openProxy } from './proxy.ts';

/** One agent's way out. */
export type Egress = {
  /** Serves one connection that comes out of a sandbox as an HTTP proxy: CONNECT host:port, and absolute-form http:// requests. */
  serve(connection: Duplex): void;
  /** A fetch under the same rules, of which each hop is checked; body and answer are bounded. */
  fetch(url: string, init: FetchInit): Promise<Fetched>;
  /** The same, whose answer streams; see `createFetch`. */
  send(url: URL, sending: Sending, redirects?: Redirects): Promise<Answer>;
  /** Bytes so far, from outside and to it. */
  traffic(): Traffic;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = {
  /** Of the agent: "host", "*.host", each with ":port" or for 443 and 80. */
  allow: readonly string[];
  /** Of the operator: what may lead inside, "host:port", "address:port" or a subnet. */
  exempt?: readonly string[];
  resolve?: (host: string) => Promise<string[]>;
  denied?: Denied;
  limits?: Partial<typeof usual>;
};

const usual = { connections: 64, connectMs: 10_000, idleMs: 60_000 };

export function openEgress(options: Options): Egress {
  const { allow, exempt = [], resolve, denied } = options;
  const limits = { ...usual, ...options.limits };
  const routes = createRoutes({
    rules: createRules(allow, exempt),
    connectMs: limits.connectMs,
    ...(resolve && { resolve }),
    ...(denied && { denied }),
  });
  const dialer = openDialer(limits);
  const proxy = openProxy({ routes, dialer, ...limits });
  const send = createSend({ routes, dialer });
  return {
    serve: proxy.serve,
    fetch: (url, init) => fetchBounded(send, url, init),
    send: (url, sending, redirects) => follow(send, url, sending, redirects),
    traffic: dialer.traffic,
    async [Symbol.asyncDispose]() {
      await Promise.all([proxy[Symbol.asyncDispose](), dialer[Symbol.asyncDispose]()]);
    },
  };
}
