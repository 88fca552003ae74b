import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Failure } from '#shared/errors.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { endpointEntry, modelEntry, namesOf, startModels } from '#test/helpers/models.ts';
import { keyNamesIn } from '../../services/llm-proxy/models/key-names.ts';
import { createKeyStore } from '../../services/llm-proxy/models/key-store.ts';

const own = { OPENAI_BASE_URL: 'http://127.0.0.1:11434/v1' };
const both = { ANTHROPIC_API_KEY: 'sk-ant-test-0123456789', OPENAI_API_KEY: 'sk-test-0123456789' };

const listed = [
  '[aliases]\nfast = "haiku"\nsmart = ["opus", "gpt"]',
  modelEntry('haiku', 'anthropic', 'fallbacks = ["gpt"]\ncontext_window = 200000\nmax_output_tokens = 64000'),
  modelEntry('opus', 'anthropic', 'fallbacks = ["haiku"]\nupstream_id = "claude-opus"'),
  modelEntry('gpt', 'openai', 'temperature = false'),
].join('\n');

test('an alias is its models in order, then their fallbacks, and nobody is asked for the same twice', async (t) => {
  await using system = await startModels(listed, both);
  const { models } = system;
  t.deepEqual(namesOf(models.targets('fast')), ['anthropic/haiku', 'openai/gpt']);
  t.deepEqual(namesOf(models.targets('smart')), ['anthropic/claude-opus', 'openai/gpt', 'anthropic/haiku']);
  const [opus, gpt, haiku] = models.targets('smart');
  t.is(opus?.id, 'opus');
  t.like(gpt?.traits, { temperature: false });
  t.like(haiku, { contextWindow: 200_000, maxOutputTokens: 64_000 });
  t.deepEqual(
    models.list().map(({ id, aliases, endpoints }) => [id, aliases, endpoints]),
    [
      ['haiku', ['fast'], ['anthropic']],
      ['opus', ['smart'], ['anthropic']],
      ['gpt', [], ['openai']],
    ],
  );
});

test('a fallback whose provider has no key is passed over', async (t) => {
  await using system = await startModels(listed, { OPENAI_API_KEY: both.OPENAI_API_KEY });
  t.deepEqual(namesOf(system.models.targets('smart')), ['openai/gpt']);
  t.deepEqual(
    system.models.list().map(({ id, aliases }) => [id, aliases]),
    [['gpt', ['fast', 'smart']]],
  );
  const failure = t.throws<Failure>(() => system.models.targets('claude-unlisted'), { code: 'not-found' });
  t.regex(failure?.message ?? '', /there is no model "claude-unlisted"/);
});

test('a dated name is the model whose name it begins with, and is sent as it is', async (t) => {
  await using system = await startModels(listed, both);
  const [target] = system.models.targets('opus-20260102');
  t.like(target, { id: 'opus', model: 'opus-20260102' });
  t.is(target?.cost({ inputTokens: 1, outputTokens: 1, cachedInputTokens: 0, cacheWriteTokens: 0 }), 0);
});

test('a name that is not listed goes where it seems to belong, and else to the default provider', async (t) => {
  await using system = await startModels('', { ...both, ...own, LLM_PROVIDER: 'openai' });
  const { models } = system;
  t.deepEqual(namesOf(models.targets('claude-next')), ['anthropic/claude-next']);
  t.deepEqual(namesOf(models.targets('gpt-next')), ['openai/gpt-next']);
  t.deepEqual(namesOf(models.targets('o7-mini')), ['openai/o7-mini']);
  t.deepEqual(namesOf(models.targets('llama3.2:3b')), ['openai/llama3.2:3b']);
  t.deepEqual(namesOf(models.targets('meta/llama')), ['openai/meta/llama'], 'a slash alone names no endpoint');
  t.deepEqual(namesOf(models.targets('anthropic/llama')), ['anthropic/llama']);
  t.deepEqual(namesOf(models.targets('demo')), ['demo/demo']);
  t.deepEqual(namesOf(models.targets(undefined)), ['openai/gpt-6.1-terra']);
  const [target] = models.targets('claude-next');
  t.is(target?.cost({ inputTokens: 1, outputTokens: 1, cachedInputTokens: 0, cacheWriteTokens: 0 }), null);
  t.like(target, { id: 'claude-next', traits: { temperature: true, forced_tools: true } });
  t.throws(() => models.targets(''), { code: 'invalid' });
  t.throws(() => models.targets('x'.repeat(201)), { code: 'invalid' });
});

test('without a key the demo answers for any name; LLM_MODEL may be an alias', async (t) => {
  await using demo = await startModels(listed);
  for (const name of [undefined, 'fast', 'claude-x', 'whatever'])
    t.deepEqual(namesOf(demo.models.targets(name)), ['demo/demo'], name);
  await using aliased = await startModels(listed, { ...both, LLM_MODEL: 'smart' });
  t.is(aliased.models.targets(undefined)[0]?.id, 'opus');
});

test('a typing mistake is told with the name that was meant; a model without a key, with the variable to set', async (t) => {
  await using anthropic = await startModels(listed, { ANTHROPIC_API_KEY: both.ANTHROPIC_API_KEY });
  const told = (name: string) =>
    t.throws<Failure>(() => anthropic.models.targets(name), { code: 'not-found' })?.message;
  t.is(told('fsat'), 'there is no model "fsat"; did you mean "fast"?');
  t.regex(told('gpt') ?? '', /set OPENAI_API_KEY$/);
  t.regex(told('openai/gpt') ?? '', /set OPENAI_API_KEY$/);
  await using ollama = await startModels(listed, own);
  await using openai = await startModels(`${listed}\n${modelEntry('alone', 'anthropic')}`, {
    ...own,
    LLM_PROVIDER: 'openai',
  });
  t.deepEqual(namesOf(openai.models.targets('alone')), ['openai/alone'], 'behind one of our own may be any model');
  t.deepEqual(namesOf(openai.models.targets('fast')), ['openai/gpt'], 'its fallback is known to be there');
  t.is(ollama.models.targets(undefined)[0]?.endpoint.name, 'demo', 'a base URL alone chooses nobody');
});

test('one id may stand for each provider once: the default provider is meant', async (t) => {
  const text = modelEntry('m', 'anthropic', 'temperature = false') + modelEntry('m', 'openai');
  await using anthropic = await startModels(text, { ...both, LLM_PROVIDER: 'anthropic' });
  await using openai = await startModels(text, { ...both, LLM_PROVIDER: 'openai' });
  t.deepEqual(namesOf(anthropic.models.targets('m')), ['anthropic/m']);
  t.deepEqual(namesOf(openai.models.targets('m')), ['openai/m']);
  t.true(openai.models.targets('m')[0]?.traits.temperature);
  t.is(openai.models.list().length, 1);
});

test('endpoints share a model by weight, with keys, times and failures of their own', async (t) => {
  const text = [
    endpointEntry('a', 'api_key = "A_KEY"\ntimeout = 20\nfirst_byte_timeout = 5', 'http://127.0.0.1:1/v1/'),
    endpointEntry('b', 'weight = 0'),
    modelEntry('m', 'openai', 'endpoints = ["b", "a"]'),
  ].join('\n');
  await using system = await startModels(text, { ...both, A_KEY: 'key-of-a-0123' });
  const { models } = system;
  for (let each = 0; each < 50; each++) t.deepEqual(namesOf(models.targets('m')), ['a/m', 'b/m']);
  const [a, b] = models.targets('m').map(({ endpoint }) => endpoint);
  t.like(a, { baseUrl: 'http://127.0.0.1:1/v1', timeoutMs: 20_000, firstByteMs: 5_000, official: false });
  t.like(b, { timeoutMs: 600_000, firstByteMs: 600_000, pieceMs: 300_000 });
  t.is(a?.apiKey(), 'key-of-a-0123');
  t.is(b?.apiKey(), undefined);
  t.like(a?.upstream, { label: 'a', keySetting: 'A_KEY', urlSetting: 'base_url of the endpoint "a" in MODELS_FILE' });
  t.deepEqual(namesOf(models.targets('openai/m')), ['openai/m']);
  t.is(
    models.targets('openai/m')[0]?.cost({ inputTokens: 1, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0 }),
    null,
    'the price is that of its endpoints',
  );
  t.deepEqual(models.targets('m', 'run_1'), models.targets('m', 'run_1'));
});

test('limits and budgets become rules beside RATE_LIMIT_REQUESTS', async (t) => {
  const text = [
    '[[limits]]\nby = "agent"\nmatch = "*"\nrequests = 5\ntokens = 1000\nwindow = 10',
    '[[budgets]]\nby = "workstream"\nmatch = "onboarding"\nusd = 2.5\nper = "month"',
  ].join('\n');
  await using system = await startModels(text, { RATE_LIMIT_REQUESTS: '7', RATE_LIMIT_WINDOW: '2' });
  t.deepEqual(system.models.rules(), [
    { by: 'endpoint', match: '*', kind: 'requests', setting: 'RATE_LIMIT_REQUESTS', limit: 7, windowMs: 2_000 },
    { by: 'agent', match: '*', kind: 'requests', limit: 5, windowMs: 10_000 },
    { by: 'agent', match: '*', kind: 'tokens', limit: 1_000, windowMs: 10_000 },
    { by: 'workstream', match: 'onboarding', kind: 'usd', limit: 2.5, per: 'month' },
  ]);
});

test('a file that is not there, or wrong, is refused at the start with every problem', async (t) => {
  await t.throwsAsync(startModels('', { MODELS_FILE: 'no/such.toml' }), {
    code: 'invalid',
    message: /^MODELS_FILE no\/such\.toml cannot be read: /,
  });
  await t.throwsAsync(startModels('[[models]]\nid = "x"\nprovider = "openai"\ninput_usd_per_mtok = -1\n'), {
    code: 'invalid',
    message: /models\.toml:4: models\[1\]\.input_usd_per_mtok: .*\n.*models\[1\]\.cached_input/,
  });
});

test('a change takes effect by itself; a bad one is refused with all its problems, and the old one stays', async (t) => {
  await using system = await startModels(modelEntry('a', 'openai'), both);
  const { models, metrics } = system;
  const isOk = async () => (await metrics.llmModelsFileOk.get()).values[0]?.value;
  const ids = () => models.list().map(({ id }) => id);
  t.is(await isOk(), 1);
  await system.write(modelEntry('a', 'openai') + modelEntry('b', 'openai'));
  await eventually(() => ids().includes('b'));

  await system.write('[aliases]\nx = "nobody"\ny = "no-one"\n');
  await eventually(async () => (await isOk()) === 0);
  t.deepEqual(ids(), ['a', 'b']);
  t.true(system.log().includes('aliases.x') && system.log().includes('aliases.y'));

  await rm(join(system.folder, 'models.toml'));
  await eventually(() => system.log().includes('cannot be read'));
  t.deepEqual(ids(), ['a', 'b']);
  await system.write(modelEntry('c', 'openai'));
  await eventually(() => ids().join() === 'c');
  t.is(await isOk(), 1);
});

test.serial(
  'SIGHUP reads all anew, keys from files too; connections may stay, for the endpoint is the same',
  async (t) => {
    const text = endpointEntry('eu', 'api_key = "EU_KEY"') + modelEntry('m', 'openai', 'endpoints = ["eu"]');
    await using folder = await startModels('');
    const keyFile = join(folder.folder, 'key');
    await writeFile(keyFile, 'the-first-key\n');
    await using system = await startModels(text, { EU_KEY_FILE: keyFile });
    const before = system.models.targets('m')[0]?.endpoint;
    t.is(before?.apiKey(), 'the-first-key');
    await writeFile(keyFile, 'the-second-key');
    process.kill(process.pid, 'SIGHUP');
    await eventually(() => before?.apiKey() === 'the-second-key');
    t.is(system.models.targets('m')[0]?.endpoint, before);

    await system.write(text.replace('127.0.0.1:1', '127.0.0.1:2'));
    await eventually(() => system.models.targets('m')[0]?.endpoint !== before);
    t.throws(() => before?.apiKey(), { code: 'unavailable', message: /no longer among the endpoints/ });
    t.is(system.models.targets('m')[0]?.endpoint.apiKey(), 'the-second-key');
    t.false(system.log().includes('-key'), 'no key is in the log');
  },
);

test('the memory of a key is overwritten when it is replaced, when it is taken back, and at the end', (t) => {
  const seen: Buffer[] = [];
  const alloc = Buffer.alloc;
  const spy = (size: number) => {
    const made = alloc(size);
    seen.push(made);
    return made;
  };
  const texts = (zero: boolean) => {
    seen.length = 0;
    Buffer.alloc = spy;
    try {
      using keys = createKeyStore(zero);
      keys.hold('a', 'key-one');
      const held = keys.hold('a', 'key-two');
      keys.hold('b', 'key-of-b');
      t.is(held(), 'key-two');
      keys.keepOnly(new Set(['a']));
      t.deepEqual(
        seen.map((each) => each.toString().includes('key')),
        zero ? [false, true, false] : [true, true, true],
      );
    } finally {
      Buffer.alloc = alloc;
    }
    return seen.map((each) => each.every((byte) => byte === 0));
  };
  t.deepEqual(texts(true), [true, true, true]);
  t.deepEqual(texts(false), [false, false, false]);
});

test('the variables of keys are known to whoever starts the proxy', async (t) => {
  await using system = await startModels(endpointEntry('a', 'api_key = "A_KEY"') + endpointEntry('b'), {
    A_KEY: 'a-key',
  });
  t.deepEqual(keyNamesIn(join(system.folder, 'models.toml')), ['A_KEY']);
  t.deepEqual(keyNamesIn('no/such.toml'), []);
});
