import type { Dispatcher } from 'undici';
import { EnvHttpProxyAgent, Pool } from 'undici';
import type { Breaker } from '../breaker.ts';
import type { Config } from '../config.ts';
import { baseUrls } from '../config.ts';
import type { Models } from '../models.ts';
import type { Upstream } from '../upstream.ts';
import type { UpstreamWire } from '../wires/pivot.ts';
import { anthropic, openAiChat } from '../wires/wires.ts';

export type ProviderName = 'anthropic' | 'openai' | 'demo';

/** A provider that is asked over HTTP. */
export type Remote = {
  name: 'anthropic' | 'openai';
  wire: UpstreamWire;
  upstream: Upstream;
  dispatcher: Dispatcher;
  origin: string;
  /** The path of its base URL, without a slash at its end. */
  basePath: string;
  /** The provider's key among them. */
  headers: Readonly<Record<string, string>>;
  tokenLimitName: 'max_tokens' | 'max_completion_tokens';
};

/** Where a call goes. */
export type Target = { name: ProviderName; breaker: Breaker; remote: Remote | undefined };

export type Targets = {
  /** Whom to ask for a model. */
  find(model: string): Target;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = {
  config: Config;
  models: Models;
  /** LLM_PROVIDER's, or the one that stands in for it. */
  configured: ProviderName;
  breakers: Readonly<Record<ProviderName, Breaker>>;
  /** Whether the environment's proxy is to be used. */
  viaProxy: boolean;
};

/** The providers that have a key, or a base URL of their own. */
export function openTargets({ config, models, configured, breakers, viaProxy }: Options): Targets {
  const remotes = new Map<ProviderName, Remote>();
  for (const name of ['anthropic', 'openai'] as const) {
    const remote = remoteOf(name, config, viaProxy);
    if (remote) remotes.set(name, remote);
  }
  const targetOf = (name: ProviderName): Target => ({ name, breaker: breakers[name], remote: remotes.get(name) });
  const targets = { anthropic: targetOf('anthropic'), openai: targetOf('openai'), demo: targetOf('demo') };
  return {
    find(model) {
      const name = models.providerOf(model) ?? guess(model) ?? configured;
      return name === 'demo' || remotes.has(name) ? targets[name] : targets[configured];
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...remotes.values()].map(({ dispatcher }) => dispatcher.destroy()));
    },
  };
}

function guess(model: string): ProviderName | undefined {
  if (model.startsWith('claude')) return 'anthropic';
  return /^(gpt|o\d)/.test(model) ? 'openai' : undefined;
}

function remoteOf(name: 'anthropic' | 'openai', config: Config, viaProxy: boolean): Remote | undefined {
  const upper = name === 'anthropic' ? 'ANTHROPIC' : 'OPENAI';
  const [key, given] = [config[`${upper}_API_KEY`], config[`${upper}_BASE_URL`].replace(/\/+$/, '')];
  const own = given !== baseUrls[name];
  if (key === undefined && !own) return undefined;
  const url = new URL(given);
  // A name and password in the URL would else go nowhere.
  const basic =
    url.username && `Basic ${btoa(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`)}`;
  const auth: Record<string, string> =
    key === undefined
      ? basic
        ? { authorization: basic }
        : {}
      : name === 'anthropic'
        ? { 'x-api-key': key }
        : { authorization: `Bearer ${key}` };
  const common = { connect: { timeout: 10_000 }, headersTimeout: 0, bodyTimeout: 0 };
  return {
    name,
    wire: name === 'anthropic' ? anthropic : openAiChat,
    upstream: {
      label: name === 'anthropic' ? 'Anthropic' : 'OpenAI',
      keySetting: `${upper}_API_KEY`,
      urlSetting: `${upper}_BASE_URL`,
      baseUrl: given,
    },
    dispatcher: viaProxy
      ? new EnvHttpProxyAgent(common)
      : new Pool(url.origin, { ...common, connections: config.LLM_CONCURRENCY, pipelining: 1 }),
    origin: url.origin,
    basePath: url.pathname.replace(/\/+$/, ''),
    headers: { ...auth, 'content-type': 'application/json', 'accept-encoding': 'identity', 'user-agent': 'toka' },
    tokenLimitName: own ? 'max_tokens' : 'max_completion_tokens',
  };
}
