import assert from 'node:assert/strict';
import test from 'ava';
import { startHttpProxy } from '../helpers/http-proxy.ts';
import type { At, Library, Said } from './libraries.ts';
import { person, startProvider } from './provider.ts';

// These need packages of their own: `npm run test:clients` installs them.
const when = process.env.TOKA_CLIENTS === '1' ? test : test.skip;

const models = { anthropic: 'claude-sonnet-4-6', openai: 'gpt-4.1' } as const;
type Own = keyof typeof models;

/** Of tokens a library says what it says at the provider: not each counts as the provider does. */
const saysHello = (said: Said, direct: Said) => {
  assert.equal(said.text, 'Hello there');
  assert.deepEqual(said, direct);
};
const saysWeather = ({ text }: Said) => assert.equal(text, 'Now: Oslo has 3 degrees; Rome has 18 degrees');

/** A feature of a library at a place; `direct` is the provider itself. Throws where it is not as it should be. */
type Feature = (library: Library, at: At, direct: At) => Promise<void>;

const features: Record<string, Feature> = {
  text: async (library, at, direct) => saysHello(await library.text(at), await library.text(direct)),
  stream: async (library, at, direct) => saysHello(await library.stream(at), await library.stream(direct)),
  tools: async (library, at) => saysWeather(await library.tools(at)),
  'streamed tools': async (library, at) => saysWeather(await library.streamedTools(at)),
  object: async (library, at) => assert.deepEqual(await library.object(at), person),
};
for (const status of [400, 401, 403, 404, 429, 500, 529]) {
  features[`an error of ${status}`] = async (library, at, direct) => {
    const text = `refuse with ${status}`;
    const wanted = await library.failure(direct, text);
    assert.match(wanted, new RegExp(String(status)));
    assert.equal(await library.failure(at, text), wanted);
  };
}

/**
 * What is otherwise than at the provider, and is to be. The AI SDK refers to what it was answered unless told `store: false`: a provider keeps
 * that for all keys, so it is refused. LangChain reads the tokens of a stream's beginning, where those of another wire are not yet known.
 */
const otherwise: Readonly<Record<string, RegExp>> = {
  'ai, openai (responses), its own wire, tools': /input\.1: refers to what the provider keeps.* store: false/,
  'ai, openai (responses), its own wire, streamed tools': /'I look\.'/,
  'langchain, ChatAnthropic, the other wire, stream': /\+ {3}inputTokens: 0,/,
};

when(
  'each feature of each library works over its own wire and over the other, as it does at the provider',
  async (t) => {
    t.timeout(300_000);
    const { libraries } = await import('./libraries.ts');
    await using provider = await startProvider();
    const environment = {
      OPENAI_BASE_URL: `${provider.url}/v1`,
      ANTHROPIC_BASE_URL: provider.url,
      RATE_LIMIT_REQUESTS: '100000',
    };
    await using proxy = await startHttpProxy('openai', { script: () => ({ text: 'nobody asks here' }), environment });
    const through = (own: Own) => ({ url: proxy.url, key: proxy.key.secret, model: models[own] });
    const faults: string[] = [];
    let all = 0;
    for (const library of libraries) {
      const [own, other]: [Own, Own] = library.wire === 'messages' ? ['anthropic', 'openai'] : ['openai', 'anthropic'];
      const direct = { url: provider.url, key: 'sk-direct', model: models[own] };
      const paths = { 'at the provider': direct, 'its own wire': through(own), 'the other wire': through(other) };
      for (const [path, at] of Object.entries(paths)) {
        let good = 0;
        for (const [name, feature] of Object.entries(features)) {
          all += 1;
          const place = `${library.name}, ${path}, ${name}`;
          const thrown = await feature(library, at, direct).then(
            () => '',
            ({ message }: Error) => message.replaceAll('\n', ' '),
          );
          if ((otherwise[place] ?? /^$/).test(thrown)) good += 1;
          else faults.push(`${place}: ${thrown.slice(0, 300)}`);
        }
        t.log(`${library.name.padEnd(34)} ${path.padEnd(16)} ${good} of ${Object.keys(features).length}`);
      }
    }
    t.log(`${all - faults.length} of ${all}`);
    t.deepEqual(faults, []);
  },
);
