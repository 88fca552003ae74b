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
const saysHello = (said: Said, direct: Said, known: string | undefined) => {
  assert.equal(said.text, 'Hello there');
  assert.deepEqual(said, known === undefined ? direct : JSON.parse(known));
};
const saysWeather = ({ text }: Said) => assert.equal(text, 'Now: Oslo has 3 degrees; Rome has 18 degrees');

/** A feature of a library at a place; `direct` is the provider itself, `known` what is known to come instead. Throws where it is not as it should be. */
type Feature = (library: Library, at: At, direct: At, known: string | undefined) => Promise<void>;

const features: Record<string, Feature> = {
  text: async (library, at, direct, known) => saysHello(await library.text(at), await library.text(direct), known),
  stream: async (library, at, direct, known) =>
    saysHello(await library.stream(at), await library.stream(direct), known),
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

/** What a library cannot be told over the other wire, each with what it says there instead. Whatever else it says is a fault. */
const differences: Record<string, string> = {
  // It takes the prompt's tokens from `message_start` alone and counts none in `message_delta` (@langchain/anthropic 1.5.11, `message_outputs.js`);
  // OpenAI tells them at the end of a stream, and a number at its beginning would be a guess of ours.
  'langchain, ChatAnthropic, the other wire, stream': '{"text":"Hello there","inputTokens":0,"outputTokens":20}',
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
          const row = `${library.name}, ${path}, ${name}`;
          const fault = await feature(library, at, direct, differences[row]).then(
            () => undefined,
            (thrown: Error) => `${row}: ${thrown.message.replaceAll('\n', ' ').slice(0, 300)}`,
          );
          if (fault === undefined) good += 1;
          else faults.push(fault);
        }
        t.log(`${library.name.padEnd(34)} ${path.padEnd(16)} ${good} of ${Object.keys(features).length}`);
      }
    }
    t.log(`${all - faults.length} of ${all}, of them known to differ: ${Object.keys(differences).join('; ')}`);
    t.deepEqual(faults, []);
  },
);
