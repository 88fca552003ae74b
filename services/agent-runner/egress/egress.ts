import { lookup } from 'node:dns/promises';
import type { Duplex } from 'node:stream';
import type { Traffic } from './dialer.ts';
import { openDialer } from './dialer.ts';
import type { Fetched, FetchInit } from './fetch.ts';
import { fetchBounded } from './fetch.ts';
import type { Redirects } from './follow.ts';
import { follow } from './follow.ts';
import { openProxy } from './proxy.ts';
import type { Denied } from './routes.ts';
import { createRoutes } from './routes.ts';
import { createRules } from './rules.ts';
import type { Answer, Sending } from './send.ts';
import { createSend } from './send.ts';

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
  const { allow, exempt = [], resolve = lookUp, denied = () => undefined } = options;
  const limits = { ...usual, ...options.limits };
  const routes = createRoutes({ rules: createRules(allow, exempt), resolve, denied, connectMs: limits.connectMs });
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

const lookUp = async (host: string) => (await lookup(host, { all: true })).map(({ address }) => address);
