import type { Dispatcher } from 'undici';
import { EnvHttpProxyAgent, Pool } from 'undici';
import type { Endpoint } from '../models/target.ts';
import type { UpstreamWire } from '../wires/pivot.ts';
import { anthropic, openAiChat } from '../wires/wires.ts';
import { createAnthropic } from './anthropic.ts';
import { createDemo } from './demo.ts';
import type { Upstream } from './failures.ts';
import { createOpenAi } from './openai.ts';
import type { Provider } from './provider.ts';

/** An endpoint that is asked over HTTP, as bytes. */
export type Remote = {
  native: 'anthropic' | 'openai';
  wire: UpstreamWire;
  upstream: Upstream;
  dispatcher: Dispatcher;
  origin: string;
  /** The path of its base URL, without a slash at its end. */
  basePath: string;
  /** Those of one request, the endpoint's key among them. */
  headers(): Record<string, string>;
  tokenLimitName: 'max_tokens' | 'max_completion_tokens';
};

/** The ways to the endpoints, opened when they are first needed. */
export type Upstreams = {
  /** For requests in the endpoint's own wire; undefined: it has none. */
  remote(endpoint: Endpoint): Remote | undefined;
  /** For calls in our contract's words. */
  provider(endpoint: Endpoint): Provider;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = {
  /** Connections to each endpoint at most, whether they go there straight or through a proxy. */
  connections: number;
  /** The proxy to go through: what it leaves out, HTTP_PROXY, HTTPS_PROXY and NO_PROXY say. Undefined: none. */
  proxy: ProxySettings | undefined;
};

type ProxySettings = Pick<EnvHttpProxyAgent.Options, 'httpProxy' | 'httpsProxy' | 'noProxy'>;

/** An endpoint that models.toml gives another address is another one: its predecessor's connections are closed once they are idle. */
export function openUpstreams(options: Options): Upstreams {
  const demo = createDemo();
  const remotes = new Map<string, { endpoint: Endpoint; remote: Remote }>();
  const providers = new WeakMap<Endpoint, Provider>();
  return {
    remote(endpoint) {
      const known = remotes.get(endpoint.name);
      if (known?.endpoint === endpoint) return known.remote;
      const remote = openRemote(endpoint, options);
      if (!remote) return undefined;
      void known?.remote.dispatcher.close();
      remotes.set(endpoint.name, { endpoint, remote });
      return remote;
    },
    provider(endpoint) {
      if (endpoint.wire === 'demo') return demo;
      const known = providers.get(endpoint);
      if (known) return known;
      const made = endpoint.wire === 'anthropic' ? createAnthropic(endpoint) : createOpenAi(endpoint);
      providers.set(endpoint, made);
      return made;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...remotes.values()].map(({ remote }) => remote.dispatcher.destroy()));
    },
  };
}

const fixedHeaders = { 'content-type': 'application/json', 'accept-encoding': 'identity', 'user-agent': 'toka' };

function openRemote(endpoint: Endpoint, { connections, proxy }: Options): Remote | undefined {
  const { wire, official, baseUrl, upstream } = endpoint;
  if (wire === 'demo') return undefined;
  const url = new URL(baseUrl);
  const common = { connect: { timeout: 10_000 }, headersTimeout: 0, bodyTimeout: 0 };
  const openPool = (origin: string | URL, given: object) => new Pool(origin, { ...given, connections, pipelining: 1 });
  return {
    native: wire,
    wire: wire === 'anthropic' ? anthropic : openAiChat,
    upstream,
    // Its own pools, to the proxy and through it, would have no bound.
    dispatcher: proxy
      ? new EnvHttpProxyAgent({ ...common, ...proxy, factory: openPool })
      : openPool(url.origin, common),
    origin: url.origin,
    basePath: url.pathname.replace(/\/+$/, ''),
    headers: () => ({ ...fixedHeaders, ...authorization(endpoint, url) }),
    tokenLimitName: official ? 'max_completion_tokens' : 'max_tokens',
  };
}

/** By key, or by the name and password of the URL, which would else go nowhere. */
function authorization({ wire, apiKey }: Endpoint, url: URL): Record<string, string> {
  const key = apiKey();
  if (key !== undefined) return wire === 'anthropic' ? { 'x-api-key': key } : { authorization: `Bearer ${key}` };
  if (!url.username) return {};
  return { authorization: `Basic ${btoa(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`)}` };
}
