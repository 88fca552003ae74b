import type { Dispatcher } from 'undici';
import { EnvHttpProxyAgent, Pool } from 'undici';
import { speaksResponses } from '../models/endpoints.ts';
import type { Traits } from '../models/schema.ts';
import type { Endpoint, Upstream } from '../models/target.ts';
import { isResponsesOnly } from '../wires/openai-chat/responses-only.ts';
import type { ProviderWireName, Transport, UpstreamWire } from '../wires/pivot.ts';
import { openAiResponses, upstreamWires } from '../wires/wires.ts';
import { fetchFor } from './sdk-fetch.ts';

/** How an endpoint is asked by whoever does not speak its wire. */
type Way = {
  wire: UpstreamWire;
  /** For calls of our own agents: by the vendor's SDK, over the same connections and with the same credentials. */
  send: Transport;
};

/** An endpoint that is asked over HTTP, as bytes. */
export type Remote = Way & {
  native: ProviderWireName;
  /** By OpenAI's responses, where it is known to speak them as well. */
  byResponses: Way | undefined;
  upstream: Upstream;
  /** Whether it is the wire's own provider. */
  official: boolean;
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
  /** Undefined: the endpoint is the demo, which is asked in our contract's words and here. */
  remote(endpoint: Endpoint): Remote | undefined;
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
  const remotes = new Map<string, { endpoint: Endpoint; remote: Remote }>();
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
    async [Symbol.asyncDispose]() {
      await Promise.all([...remotes.values()].map(({ remote }) => remote.dispatcher.destroy()));
    },
  };
}

const fixedHeaders = { 'content-type': 'application/json', 'accept-encoding': 'identity', 'user-agent': 'toka' };

function openRemote(endpoint: Endpoint, { connections, proxy }: Options): Remote | undefined {
  const { wire: native, official, baseUrl, timeoutMs, upstream } = endpoint;
  if (native === 'demo') return undefined;
  const url = new URL(baseUrl);
  const wire = upstreamWires[native];
  const common = { connect: { timeout: 10_000 } };
  // undici's own limits are 300 seconds, and its agents for a proxy tell those that we set to no pool that sends without a tunnel (8.13).
  const own = { connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 };
  const openPool = (origin: string | URL, given: object) => new Pool(origin, { ...given, ...own });
  // Its own pools, to the proxy and through it, would have no bound.
  const dispatcher = proxy
    ? new EnvHttpProxyAgent({ ...common, ...proxy, factory: openPool })
    : openPool(url.origin, common);
  const basePath = url.pathname.replace(/\/+$/, '');
  const credentials = () => authorization(endpoint, wire, url);
  const wayBy = (wire: UpstreamWire): Way => ({
    wire,
    send: wire.openTransport({
      baseUrl: url.origin + basePath,
      // The call's own signal ends it; the SDK's limit is for what that misses.
      timeoutMs: timeoutMs + 1_000,
      fetch: fetchFor(dispatcher, () => ({ ...credentials(), ...wire.versionHeaders })),
    }),
  });
  return {
    ...wayBy(wire),
    byResponses: speaksResponses(endpoint) ? wayBy(openAiResponses) : undefined,
    ...{ native, upstream, official, dispatcher, basePath, origin: url.origin },
    headers: () => ({ ...fixedHeaders, ...credentials() }),
    tokenLimitName: official ? 'max_completion_tokens' : 'max_tokens',
  };
}

/**
 * The way by which a model takes a request with these tools, and its traits there: OpenAI's responses where it takes them by nothing else, or
 * only without its thinking.
 */
export function wayTo({ wire, send, byResponses }: Remote, traits: Traits, tools: readonly unknown[]) {
  if (!byResponses || !isResponsesOnly(tools, traits)) return { wire, send, traits };
  const { tools_reasoning_effort: _, ...own } = traits;
  return { ...byResponses, traits: own };
}

/** By key, or by the name and password of the URL, which would else go nowhere. */
function authorization({ apiKey, official }: Endpoint, wire: UpstreamWire, url: URL): Record<string, string> {
  const key = apiKey();
  if (key !== undefined) return wire.credentialHeaders({ key, official });
  if (!url.username) return {};
  return { authorization: `Basic ${btoa(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`)}` };
}
