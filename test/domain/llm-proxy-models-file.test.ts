import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { endpointEntry, modelEntry } from '#test/helpers/models.ts';
import { checkModelsFile } from '../../services/llm-proxy/models/check.ts';
import { byWeight, drawAtRandom, drawFor } from '../../services/llm-proxy/models/order.ts';
import { parseModelsFile, problemLine } from '../../services/llm-proxy/models/parse.ts';
import { createPricing } from '../../services/llm-proxy/models/price.ts';

function problemsOf(text: string, isSet = (_: string) => true): string[] {
  const { problems } = parseModelsFile(text, (file) => checkModelsFile(file, isSet));
  return problems.map((problem) => problemLine('m.toml', problem).replace('MODELS_FILE m.toml', ''));
}

test('the file that comes with Toka has no problem, and says what the caches of Anthropic cost to write', (t) => {
  const text = readFileSync('config/models.toml', 'utf8');
  t.deepEqual(problemsOf(text), []);
  const { file } = parseModelsFile(text, () => []);
  const anthropic = file?.models.filter(({ provider }) => provider === 'anthropic') ?? [];
  t.true(anthropic.length > 3);
  for (const { id, input_usd_per_mtok: input = Number.NaN, ...model } of anthropic) {
    t.is(model.cache_write_usd_per_mtok, input * 1.25, id);
    t.is(model.cache_write_long_usd_per_mtok, input * 2, id);
  }
});

test('a model has all of its prices or none, and a tier a factor or prices of its own', (t) => {
  const of = (...lines: string[]) => problemsOf(`[[models]]\nid = "a"\nprovider = "openai"\n${lines.join('\n')}`);
  const three = ['input_usd_per_mtok = 1', 'cached_input_usd_per_mtok = 1', 'output_usd_per_mtok = 1'];
  t.deepEqual(of(), []);
  t.regex(
    of('input_usd_per_mtok = 1').join(),
    /cached_input_usd_per_mtok: is missing.*output_usd_per_mtok: is missing/,
  );
  t.deepEqual(of(...three, 'tiers = { flex = 0.5, fast = { factor = 2, prompt_tokens_max = 9 } }'), []);
  t.deepEqual(of(...three, `tiers = { fast = { ${three.join(', ')} } }`), []);
  for (const tier of ['"half"', '{ input_usd_per_mtok = 1 }', `{ factor = 1, ${three.join(', ')} }`]) {
    t.regex(
      of(...three, `tiers = { flex = ${tier} }`).join(),
      /models\[1\]\.tiers\.flex: .*a factor such as 0\.5/,
      tier,
    );
  }
});

test('the example in its comments is a good file too', (t) => {
  const text = readFileSync('config/models.toml', 'utf8');
  const [, example = ''] = text.split('# For example:\n');
  const shown = example.split('\n\n', 1)[0]?.replaceAll(/^# */gm, '') ?? '';
  t.regex(shown, /\[aliases\][\s\S]*\[\[endpoints\]\][\s\S]*\[\[limits\]\][\s\S]*\[\[budgets\]\]/);
  t.deepEqual(problemsOf(`${text}\n${shown}`), []);
});

test('a wrong field is told with its line, its place and what to write', (t) => {
  t.deepEqual(
    problemsOf(
      `${modelEntry('a', 'mistral')}tempersture = false\n\n[[limits]]\nby = "agent"\nmatch = "*"\nwindow = 60\n`,
    ),
    [
      ':3: models[1].provider: is "mistral"; it takes anthropic, openai, demo',
      ':8: models[1].tempersture: is not a known field; did you mean "temperature"?',
      ':10: limits[1]: needs requests, tokens or both',
    ],
  );
  t.deepEqual(problemsOf('[[models]]\nid = "a"\nid = "b"\n').length, 1);
  t.regex(problemsOf('[[models]\n')[0] ?? '', /^:1: the file: is not TOML: /);
  t.deepEqual(problemsOf('[aliases]\nfast = 3\n'), [":2: aliases.fast: must be a model's name, or a list of up to 20"]);
  t.regex(problemsOf(endpointEntry('x', '', 'ftp://a/v1')).join(), /^:4: endpoints\[1\]\.base_url: .*http:\/\//);
});

test('what does not fit together is told: aliases, fallbacks, endpoints, ids, rules', (t) => {
  const text = [
    '[aliases]\nfast = "gtp-a"\nslow = ["gpt-a", "fast"]\ngpt-a = "gpt-b"',
    endpointEntry('openai'),
    endpointEntry('eu'),
    endpointEntry('eu'),
    modelEntry('gpt-a', 'openai', 'endpoints = ["ue"]'),
    modelEntry('gpt-a', 'openai'),
    modelEntry('gpt-a', 'anthropic'),
    modelEntry('gpt-b', 'openai', 'fallbacks = ["nobody", "eu/anything", "gpt-a-2026-01-02"]'),
    '[[limits]]\nby = "endpoint"\nmatch = "ea"\nrequests = 1\nwindow = 1\n',
    '[[budgets]]\nby = "model"\nmatch = "fast"\nusd = 1\nper = "day"\n',
  ].join('\n');
  t.deepEqual(
    problemsOf(text).map((line) => line.replace(/^:\d+: /, '')),
    [
      'endpoints[1].name: "openai" is there without this file; choose another name',
      'endpoints[3].name: "eu" is the name of endpoints[2] already',
      'models[1].endpoints[1]: "ue" is no endpoint; did you mean "eu"?',
      'models[2].id: "gpt-a" is models[1] already',
      'aliases.fast: "gtp-a" is neither a model of this file nor written endpoint/model; did you mean "gpt-a"?',
      'aliases.slow[2]: "fast" is an alias itself; name its models',
      'aliases.gpt-a: "gpt-a" is a model\'s id as well; choose another alias',
      'models[4].fallbacks[1]: "nobody" is neither a model of this file nor written endpoint/model; known are gpt-a, gpt-b',
      'limits[1].match: "ea" is no endpoint; did you mean "eu"?',
      'budgets[1].match: "fast" is an alias; name the model that it stands for',
    ],
  );
});

test('fallbacks that lead in a circle are told with the way', (t) => {
  const text = [
    modelEntry('a', 'openai', 'fallbacks = ["b"]'),
    modelEntry('b', 'openai', 'fallbacks = ["c"]'),
    modelEntry('c', 'openai', 'fallbacks = ["a"]'),
    modelEntry('self', 'openai', 'fallbacks = ["self"]'),
    modelEntry('outside', 'openai', 'fallbacks = ["a"]'),
  ].join('\n');
  const problems = problemsOf(text);
  t.is(problems.length, 4, 'one that only leads into the circle is no part of it');
  t.regex(problems[0] ?? '', /models\[1\]\.fallbacks\[1\]: leads in a circle: a -> b -> c -> a$/);
  t.regex(problems[3] ?? '', /self -> self$/);
});

test('a key is named by its variable, and never shown', (t) => {
  const isSet = (name: string) => name === 'SET_KEY';
  t.deepEqual(problemsOf(endpointEntry('a', 'api_key = "SET_KEY"'), isSet), []);
  t.deepEqual(problemsOf(endpointEntry('a', 'api_key = "EU_KEY"'), isSet), [
    ':5: endpoints[1].api_key: the variable EU_KEY is not set; set it, or EU_KEY_FILE to a file that holds the key',
  ]);
  const [told = ''] = problemsOf(endpointEntry('a', 'api_key = "sk-proj-0123456789abcdef"'));
  t.regex(told, /must be the name of the variable that holds the key/);
  t.false(told.includes('sk-proj'));
});

test('names of JavaScript itself are names like any other', (t) => {
  const text = `[aliases]\nconstructor = "a"\ntoString = ["a"]\n${modelEntry('a', 'openai')}`;
  t.deepEqual(problemsOf(text), []);
  t.regex(problemsOf(`[aliases]\nx = "constructor"\n${modelEntry('a', 'openai')}`).join(), /neither a model/);
});

test('any text at all is either a file or problems', (t) => {
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'[]="\n.models \t{}#1a-') }));
  fc.assert(
    fc.property(text, (any) => {
      const { file, problems } = parseModelsFile(any, (parsed) => checkModelsFile(parsed, () => true));
      return (file === undefined) === problems.length > 0;
    }),
  );
  t.pass();
});

test('what was read from and written to the cache has prices of its own, and a prompt beyond the prices has none', (t) => {
  const prices = {
    ...{ input_usd_per_mtok: 4, cached_input_usd_per_mtok: 1, cache_write_usd_per_mtok: 5, output_usd_per_mtok: 20 },
    prompt_tokens_max: 1_000,
  };
  const usage = { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 300, cacheWriteTokens: 200 };
  const { cost, estimateCost } = createPricing(prices);
  t.is(cost(usage), (500 * 4 + 300 * 1 + 200 * 5 + 100 * 20) / 1e6);
  t.is(cost({ ...usage, inputTokens: 1_001 }), null);
  t.is(estimateCost(1_000, 100), (1_000 * 5 + 100 * 20) / 1e6, 'all of it may be written to the cache');
  t.is(estimateCost(1_001, 100), null);
  const without = createPricing({ ...prices, cache_write_usd_per_mtok: undefined });
  t.is(without.cost(usage), (700 * 4 + 300 * 1 + 100 * 20) / 1e6, 'no price to write: as other input');
  t.is(createPricing(undefined).cost(usage), null);
});

test('an estimate is never below what the same call costs, whatever the provider says was cached', (t) => {
  const price = fc.double({ min: 0, max: 100, noNaN: true });
  const count = fc.nat(1_000_000);
  fc.assert(
    fc.property(price, price, price, count, count, count, count, (input, write, output, ...counts) => {
      const [inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens] = counts;
      const { cost, estimateCost } = createPricing({
        ...{ input_usd_per_mtok: input, cached_input_usd_per_mtok: input / 10, output_usd_per_mtok: output },
        cache_write_usd_per_mtok: write,
      });
      const is = cost({ inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens }) ?? Number.NaN;
      return is >= 0 && is <= (estimateCost(inputTokens, outputTokens) ?? Number.NaN) * (1 + 1e-9);
    }),
  );
  t.pass();
});

const endpoint = (name: string, weight: number) => ({ endpoint: { name, weight } });
const firstOf = (items: ReturnType<typeof endpoint>[], draw: (name: string) => number) =>
  byWeight(items, draw)[0]?.endpoint.name ?? '';

test('endpoints come first as often as their weights say, one of weight 0 only behind the others', (t) => {
  const items = [endpoint('spare', 0), endpoint('three', 3), endpoint('one', 1)];
  let state = 1;
  const random = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const counts = new Map<string, number>();
  for (let each = 0; each < 10_000; each++) {
    const first = firstOf(items, drawAtRandom(random));
    counts.set(first, (counts.get(first) ?? 0) + 1);
  }
  t.is(counts.get('spare'), undefined);
  t.true(Math.abs((counts.get('three') ?? 0) - 7_500) < 200, String(counts.get('three')));
  t.is(
    byWeight(
      items,
      drawAtRandom(() => 0),
    ).length,
    3,
  );
});

test('a conversation keeps to its endpoint, and another one that comes moves only its own share', (t) => {
  const two = [endpoint('a', 1), endpoint('b', 1)];
  const three = [...two, endpoint('c', 1)];
  const chosen = Array.from({ length: 3_000 }, (_, each) => ({
    before: firstOf(two, drawFor(`run_${each}`)),
    again: firstOf(two.toReversed(), drawFor(`run_${each}`)),
    after: firstOf(three, drawFor(`run_${each}`)),
  }));
  t.true(chosen.every(({ before, again }) => before === again));
  const share = chosen.filter(({ before }) => before === 'a').length;
  t.true(Math.abs(share - 1_500) < 150, String(share));
  const moved = chosen.filter(({ before, after }) => before !== after);
  t.true(moved.every(({ after }) => after === 'c'));
  t.true(Math.abs(moved.length - 1_000) < 150, String(moved.length));
});
