import test from 'ava';
import fc from 'fast-check';
import { ChatRequest } from '#shared/contracts/llm.ts';
import { hashCanonical } from '../../services/llm-proxy/cache/canonical.ts';
import type { CachedWire } from '../../services/llm-proxy/cache/key.ts';
import { httpCacheKey, typedCacheKey } from '../../services/llm-proxy/cache/key.ts';
import { wantsCache } from '../../services/llm-proxy/cache/wants.ts';

type Body = Record<string, unknown>;

const keyOf = (wire: CachedWire, body: Body, more: Partial<Parameters<typeof httpCacheKey>[0]> = {}) =>
  httpCacheKey({ namespace: 'a', wire, model: ['openai/gpt'], versionHeaders: {}, body, ...more });

/** JSON with every object's fields in one order: what equal means. */
const sorted = (value: unknown): string =>
  JSON.stringify(value, (_field, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );

const reversed = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([field, inner]) => [field, reversed(inner)] as const);
  return Object.fromEntries(entries.reverse());
};

// Short texts of few characters, so that what is nearly equal occurs; long ones; halves of characters.
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('s', '1', ':', '{', '"', '\\', '\ud800', '\udc00', 'é', '€') }),
  fc.string({ unit: 'binary', minLength: 250, maxLength: 300 }),
);
const field = fc.oneof(
  fc.constantFrom('model', 'user', 'content', 'cache_control', '__proto__', 'constructor', '1', ''),
  fc.string(),
);
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4 },
    text,
    fc.integer({ min: -20, max: 20 }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(true, false, null, '', '0', 'true', 'null'),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(field, tie('json'), { maxKeys: 4 }),
  ),
}));
const parsed = json.map((value): unknown => JSON.parse(JSON.stringify(value)));

test('two values have one hash only if they are equal as JSON, whatever the order of their fields', (t) => {
  const check = fc.property(parsed, parsed, (a, b) => {
    t.is(hashCanonical(a) === hashCanonical(b), sorted(a) === sorted(b));
    t.is(hashCanonical(reversed(a)), hashCanonical(a));
    for (const near of [[a], { a }, [a, b], [b, a], { a, b }, { a: b, b: a }, [[a], b], [[a, b]]])
      t.is(hashCanonical(near) === hashCanonical([a, b]), sorted(near) === sorted([a, b]));
  });
  t.notThrows(() => fc.assert(check, { numRuns: 2_000 }));
});

test('what texts hold cannot make two lists look like one', (t) => {
  const pieces = fc.array(text, { minLength: 1, maxLength: 5 });
  const check = fc.property(pieces, pieces, (a, b) => {
    t.is(hashCanonical(a) === hashCanonical(b), JSON.stringify(a) === JSON.stringify(b));
    t.is(hashCanonical(a) === hashCanonical([a.join('')]), a.length === 1);
    t.is(hashCanonical(a) === hashCanonical([JSON.stringify(a)]), false);
  });
  t.notThrows(() => fc.assert(check, { numRuns: 1_000 }));
  t.not(hashCanonical(`\ud800${'x'.repeat(300)}`), hashCanonical(`\ud801${'x'.repeat(300)}`));
  t.not(hashCanonical('\ud800'), hashCanonical('\ufffd'));
});

test('a body that nests deeper than 200 levels is refused, and exhausts nothing', (t) => {
  const nested = (levels: number): Body => ({ messages: JSON.parse('['.repeat(levels) + ']'.repeat(levels)) });
  t.notThrows(() => keyOf('openai-chat', nested(190)));
  t.throws(() => keyOf('openai-chat', nested(100_000)), { code: 'invalid', message: /nests deeper/ });
});

const wires = ['openai-chat', 'openai-responses', 'anthropic', 'embeddings'] as const;
const words = (list: string) => list.split(' ');
const payer = 'model user safety_identifier service_tier prompt_cache_key prompt_cache_retention';
const inert: Record<CachedWire, string[]> = {
  'openai-chat': words(`${payer} metadata`),
  'openai-responses': words(payer),
  anthropic: words('model metadata service_tier cache_control'),
  embeddings: words('model user'),
};
const sampling = 'temperature top_p tools tool_choice store';
const counting: Record<CachedWire, string[]> = {
  'openai-chat': words(
    `${sampling} messages n seed stop max_tokens max_completion_tokens parallel_tool_calls response_format reasoning_effort verbosity logprobs top_logprobs logit_bias presence_penalty frequency_penalty modalities audio prediction web_search_options`,
  ),
  'openai-responses': words(
    `${sampling} input instructions max_output_tokens text reasoning include truncation previous_response_id conversation background metadata prompt`,
  ),
  anthropic: words(
    `${sampling} messages system max_tokens top_k stop_sequences thinking output_config container mcp_servers context_management`,
  ),
  embeddings: words('input dimensions encoding_format'),
};

for (const wire of wires) {
  test(`${wire}: the key changes with every field that can change the answer, known or not`, (t) => {
    const known = fc.constantFrom(...counting[wire]);
    const value = parsed.filter((each) => wire !== 'anthropic' || !sorted(each).includes('cache_control'));
    const name = fc.oneof(known, field).filter((each) => ![...inert[wire], 'stream', 'stream_options'].includes(each));
    const check = fc.property(fc.dictionary(field, parsed), name, value, value, (body, changed, a, b) => {
      const differs = sorted(a) !== sorted(b);
      const withA: Body = { ...body, [changed]: a };
      t.is(keyOf(wire, withA) !== keyOf(wire, { ...body, [changed]: b }), differs);
      const { [changed]: _gone, ...without } = withA;
      t.not(keyOf(wire, withA), keyOf(wire, without));
    });
    t.notThrows(() => fc.assert(check, { numRuns: 500 }));
    for (const each of counting[wire]) t.not(keyOf(wire, { [each]: 1 }), keyOf(wire, { [each]: 2 }), each);
  });

  test(`${wire}: the key changes with no field that only says who asks, or how it is paid`, (t) => {
    const check = fc.property(
      fc.dictionary(field, parsed),
      fc.constantFrom(...inert[wire]),
      parsed,
      (body, name, a) => {
        t.is(keyOf(wire, { ...body, [name]: a }), keyOf(wire, body));
      },
    );
    t.notThrows(() => fc.assert(check, { numRuns: 500 }));
    // The same names deeper down belong to what is asked.
    for (const name of inert[wire])
      t.not(keyOf(wire, { input: { [name]: 1 } }), keyOf(wire, { input: { [name]: 2 } }), name);
  });

  test(`${wire}: the key changes with who shares it, where it goes, its wire's version, and whether it is streamed`, (t) => {
    const body = { temperature: 0, messages: 'x', input: 'x' };
    const plain = keyOf(wire, body);
    const keys = [
      plain,
      keyOf(wire, body, { namespace: 'b' }),
      keyOf(wire, body, { model: ['openai/other'] }),
      keyOf(wire, body, { versionHeaders: { 'anthropic-beta': 'new' } }),
      keyOf(wire, body, { versionHeaders: { 'anthropic-version': 'new' } }),
      keyOf(wire, { ...body, stream: true }),
      keyOf(wire, { ...body, stream: true, stream_options: { include_usage: true } }),
      keyOf(wire, { ...body, stream: 'yes' }),
      ...wires.filter((other) => other !== wire).map((other) => keyOf(other, body)),
    ];
    t.is(new Set(keys).size, keys.length);
    for (const whole of [{ stream: false }, { stream: null }, { stream_options: { include_usage: true } }])
      t.is(keyOf(wire, { ...body, ...whole }), plain, JSON.stringify(whole));
    t.is(keyOf(wire, body, { versionHeaders: { 'anthropic-beta': undefined } }), plain);
    t.regex(plain, /^[0-9a-f]{64}$/);
  });
}

test('anthropic: marks for the prompt cache change nothing where they stand, and count as anything else elsewhere', (t) => {
  const marks = [undefined, { type: 'ephemeral' }, { type: 'ephemeral', ttl: '1h' }];
  const bodies = marks.map((cache_control) => ({
    cache_control,
    system: [{ type: 'text', text: 'x', cache_control }],
    tools: [{ name: 'look', input_schema: { type: 'object' }, cache_control }],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'x', cache_control }] },
      {
        role: 'user',
        content: [{ type: 'tool_result', content: [{ type: 'text', text: 'x', cache_control }], cache_control }],
      },
    ],
  }));
  t.is(new Set(bodies.map((body) => keyOf('anthropic', body))).size, 1);
  const places = [1, 2].flatMap((cache_control) => [
    { tools: [{ name: 'look', input_schema: { properties: { cache_control } } }] },
    { messages: [{ role: 'assistant', content: [{ type: 'tool_use', input: { cache_control } }] }] },
    { messages: [{ role: 'user', cache_control }] },
    { tool_choice: { cache_control } },
  ]);
  t.is(new Set(places.map((body) => keyOf('anthropic', body))).size, places.length);
});

const place = { targets: ['openai http://x gpt'], maxOutputTokens: 10 };
const asked = ChatRequest.parse({ system: 's', messages: [{ role: 'user', text: 'hi' }] });

test('a typed call has another key for all that its answer depends on, and for each agent', (t) => {
  const look = { name: 'look', description: 'Looks', inputSchema: {} };
  const changes: Partial<ChatRequest>[] = [
    {},
    { agentId: 'scout' },
    { system: 'other' },
    { messages: [{ role: 'user', text: 'ho' }] },
    { messages: [{ role: 'assistant', text: 'hi', toolCalls: [] }] },
    { messages: [{ role: 'assistant', text: 'hi', toolCalls: [], reasoning: 'signed' }] },
    { tools: [look] },
    { tools: [look], toolChoice: { name: 'look' } },
    { temperature: 0 },
    { temperature: 1 },
  ];
  const keys = [
    ...changes.map((change) => typedCacheKey({ ...asked, ...change }, place)),
    ...[
      { targets: [] },
      { targets: ['other'] },
      { targets: ['openai http://x gpt', 'other'] },
      { maxOutputTokens: 11 },
    ].map((change) => typedCacheKey(asked, { ...place, ...change })),
  ];
  t.is(new Set(keys).size, keys.length);
});

test('a typed call has one key whoever pays, whichever run it is, and however urgent', (t) => {
  const changes: Partial<ChatRequest>[] = [
    { key: 'someone' },
    { runId: 'run_2' },
    { workstream: 'w' },
    { priority: 'high' },
    { cache: true },
    { model: 'fast' },
    { maxOutputTokens: 99 },
  ];
  for (const change of changes)
    t.is(typedCacheKey({ ...asked, ...change }, place), typedCacheKey(asked, place), JSON.stringify(change));
});

const wish = (temperature: unknown, cacheControl?: string, tokaCache?: string) =>
  wantsCache({ temperature, cacheControl, tokaCache });
const neither = { read: false, write: false };
const both = { read: true, write: true };

test('the cache is for temperature 0 and for who asks for it, and not for who refuses it', (t) => {
  t.deepEqual(wish(0), both);
  for (const temperature of [undefined, null, 0.1, 1, '0', false]) t.deepEqual(wish(temperature), neither);
  t.deepEqual(wish(1, undefined, ' On'), both);
  t.deepEqual(wish(0, undefined, 'off'), neither);
  for (const header of ['', 'yes', 'hit', 'on, off'])
    t.throws(() => wish(0, undefined, header), { code: 'invalid', message: /x-toka-cache/ });
});

test('Cache-Control forbids reading, writing, or what is too old', (t) => {
  t.deepEqual(wish(0, 'no-store'), neither);
  t.deepEqual(wish(0, 'max-age=5, No-Store, no-cache'), neither);
  t.deepEqual(wish(0, 'no-cache'), { read: false, write: true });
  t.deepEqual(wish(0, 'Max-Age=60'), { ...both, maxAgeS: 60 });
  t.deepEqual(wish(0, 'max-age="7" , no-transform'), { ...both, maxAgeS: 7 });
  for (const odd of ['max-age', 'max-age=', 'max-age=-1', 'max-age=x', 'max-age=1e3'])
    t.deepEqual(wish(0, odd), { ...both, maxAgeS: 0 }, odd);
  for (const other of ['', ',,=', 'only-if-cached', 'no-storefront', 'x-no-cache=1']) t.deepEqual(wish(0, other), both);
  t.deepEqual(wish(1, 'max-age=60'), neither, 'it allows, and does not ask');
  t.deepEqual(wish(1, 'no-cache', 'on'), { read: false, write: true });
});
