import { rememberSecret } from '#shared/secrets.ts';
import type { Config } from '../config.ts';
import { baseUrls } from '../config.ts';
import type { KeyStore } from './key-store.ts';
import type { EndpointEntry } from './schema.ts';
import type { Endpoint } from './target.ts';

export type ProviderName = 'anthropic' | 'openai' | 'demo';

/** The models of those who name none. */
export const defaultModels = { anthropic: 'claude-sonnet-5-5', openai: 'gpt-6.1-terra', demo: 'demo' } as const;

/** LLM_PROVIDER, or the one whose key is set, or the demo. */
export const providerOf = (config: Config): ProviderName =>
  config.LLM_PROVIDER ?? (config.ANTHROPIC_API_KEY ? 'anthropic' : config.OPENAI_API_KEY ? 'openai' : 'demo');

export type Endpoints = {
  /** Those that can be asked, by name: the environment's, where it has a key or a base URL of one's own, the demo, and the file's. */
  read(entries: readonly EndpointEntry[], secret: (name: string) => string | undefined): Map<string, Endpoint>;
};

/** Makes endpoints. One that is still the same in a later file is the same object, so that its connections stay. */
export function createEndpoints(config: Config, keys: KeyStore): Endpoints {
  const times = timesOf(config, config.LLM_TIMEOUT);
  const given = [demo(times), fromEnvironment('anthropic', config, keys), fromEnvironment('openai', config, keys)];
  let former = new Map<string, Endpoint>();
  return {
    read(entries, secret) {
      const places = new Set(given.flatMap((endpoint) => (endpoint ? [placeOf(endpoint)] : [])));
      const kept = new Map<string, Endpoint>();
      for (const entry of entries) {
        const key = entry.api_key === undefined ? undefined : secret(entry.api_key);
        if (key !== undefined) rememberSecret(key);
        const made = fromFile(entry, timesOf(config, entry.timeout ?? config.LLM_TIMEOUT), keys, key);
        places.add(placeOf(made));
        const spec = JSON.stringify(entry);
        kept.set(spec, former.get(spec) ?? made);
      }
      former = kept;
      keys.keepOnly(places);
      const all = [...given, ...kept.values()];
      return new Map(all.flatMap((endpoint) => (endpoint ? [[endpoint.name, endpoint]] : [])));
    },
  };
}

/** Where its key is kept. A new address gets a key of its own: what is under way to the old one must not take the new one's there. */
const placeOf = ({ name, baseUrl }: Pick<Endpoint, 'name' | 'baseUrl'>) => `${name} at ${baseUrl}`;

const withoutSlash = (url: string) => url.replace(/\/+$/, '');

type Times = Pick<Endpoint, 'timeoutMs' | 'pieceMs'>;

/** What may take no longer as a whole may not pause for longer, either. */
const timesOf = ({ LLM_STREAM_TIMEOUT }: Config, timeoutS: number): Times => ({
  timeoutMs: timeoutS * 1_000,
  pieceMs: Math.min(timeoutS, LLM_STREAM_TIMEOUT) * 1_000,
});

function demo(times: Times): Endpoint {
  return {
    ...{ name: 'demo', wire: 'demo', baseUrl: '', official: true, weight: 1 },
    ...{ ...times, firstByteMs: times.timeoutMs },
    apiKey: () => undefined,
    upstream: { label: 'the demo', keySetting: 'LLM_PROVIDER', urlSetting: 'LLM_PROVIDER', baseUrl: '' },
  };
}

function fromEnvironment(name: 'anthropic' | 'openai', config: Config, keys: KeyStore): Endpoint | undefined {
  const upper = name === 'anthropic' ? 'ANTHROPIC' : 'OPENAI';
  const key = config[`${upper}_API_KEY`];
  const baseUrl = withoutSlash(config[`${upper}_BASE_URL`]);
  const official = baseUrl === baseUrls[name];
  if (key === undefined && official) return undefined;
  const times = timesOf(config, config.LLM_TIMEOUT);
  return {
    ...{ name, wire: name, baseUrl, official, weight: 1 },
    ...{ ...times, firstByteMs: times.timeoutMs },
    apiKey: keys.hold(placeOf({ name, baseUrl }), key),
    upstream: {
      label: name === 'anthropic' ? 'Anthropic' : 'OpenAI',
      keySetting: `${upper}_API_KEY`,
      urlSetting: `${upper}_BASE_URL`,
      baseUrl,
    },
  };
}

function fromFile(entry: EndpointEntry, times: Times, keys: KeyStore, key: string | undefined): Endpoint {
  const { name, wire, weight, first_byte_timeout } = entry;
  const { timeoutMs } = times;
  const baseUrl = withoutSlash(entry.base_url);
  return {
    ...{ name, wire, baseUrl, weight },
    ...times,
    official: baseUrl === baseUrls[wire],
    firstByteMs: first_byte_timeout === undefined ? timeoutMs : Math.min(first_byte_timeout * 1_000, timeoutMs),
    apiKey: keys.hold(placeOf({ name, baseUrl }), key),
    upstream: {
      label: name,
      keySetting: entry.api_key ?? `api_key of the endpoint "${name}" in MODELS_FILE`,
      urlSetting: `base_url of the endpoint "${name}" in MODELS_FILE`,
      baseUrl,
    },
  };
}

/** Whether it is known to speak OpenAI's responses: OpenAI itself does, whose hosts for regions are its own ("Data residency" of its guides, 2026-11-30). Others that speak alike may know chat completions alone. */
export const speaksResponses = ({ wire, official, baseUrl }: Endpoint): boolean =>
  wire === 'openai' && (official || /^https:\/\/[a-z]{2}\.api\.openai\.com\/v1$/.test(baseUrl));
