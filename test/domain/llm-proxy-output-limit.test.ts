import test from 'ava';
import { boundOutput } from '../../services/llm-proxy/upstreams/output-limit.ts';

const max = 8_192;
const bound = (kind: Parameters<typeof boundOutput>[0], body: Record<string, unknown>) => boundOutput(kind, body, max);

for (const [kind, body, lowered] of [
  ['chat', { max_tokens: 100_000 }, { max_tokens: max }],
  ['chat', { max_completion_tokens: 100_000, max_tokens: 5 }, { max_completion_tokens: max, max_tokens: 5 }],
  ['responses', { max_output_tokens: 100_000 }, { max_output_tokens: max }],
  ['messages', { max_tokens: 100_000 }, { max_tokens: max }],
  ['chat', { max_tokens: 10, n_predict: 100_000 }, { max_tokens: 10, n_predict: max }],
  ['chat', { n: 4, max_tokens: 8_000 }, { n: 4, max_tokens: 2_048 }],
] as const)
  test(`${kind}: ${JSON.stringify(body)} is lowered to what may be`, (t) => {
    t.like(bound(kind, body), { body: lowered, isLowered: true, isUnnamed: false });
  });

for (const [kind, body] of [
  ['chat', { max_tokens: max }],
  ['chat', { max_completion_tokens: 1, max_tokens: null }],
  ['responses', { max_output_tokens: 16 }],
  ['messages', { max_tokens: 0, thinking: { type: 'enabled', budget_tokens: 50_000 } }],
] as const)
  test(`${kind}: ${JSON.stringify(body)} stays as it is`, (t) => {
    const bounded = bound(kind, body);
    t.is(bounded.body, body);
    t.like(bounded, { isLowered: false, isUnnamed: false });
  });

test('where a request names no limit of its wire the provider has to be told one, of each answer its part', (t) => {
  t.like(bound('chat', {}), { isUnnamed: true, tokens: max });
  t.like(bound('chat', { n: 3, max_tokens: null }), { isUnnamed: true, tokens: 2_730 });
  t.like(bound('responses', { max_tokens: 5 }), { isUnnamed: true, tokens: max });
  t.like(bound('embeddings', {}), { isUnnamed: false });
  t.like(bound('count', { max_tokens: 100_000 }), { isLowered: false });
});

test('what a provider may read as a number and we do not is refused by its name', (t) => {
  for (const value of ['100000', -1, 1.5, 1e300, true, [9], { value: 9 }])
    for (const name of ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n', 'n_predict'])
      t.throws(() => bound('chat', { [name]: value }), { code: 'invalid', message: new RegExp(`^${name}: must be`) });
  t.throws(() => bound('chat', { n: max + 1 }), { code: 'invalid', message: /at most 8192/ });
});

test('a budget of thinking is lowered with the limit that it is a part of, and refused where none is left', (t) => {
  const body = { max_tokens: 64_000, thinking: { type: 'enabled', budget_tokens: 32_000 } };
  t.like(bound('messages', body).body, { max_tokens: max, thinking: { type: 'enabled', budget_tokens: 4_096 } });
  const most = { max_tokens: 32_000, thinking: { type: 'enabled', budget_tokens: 31_999 } };
  t.like(bound('messages', most).body, { thinking: { budget_tokens: max - 1 } });
  const small = { max_tokens: 64_000, thinking: { type: 'enabled', budget_tokens: 2_000 } };
  t.like(bound('messages', small).body, { thinking: { budget_tokens: 2_000 } });
  t.throws(() => boundOutput('messages', body, 1_024), { code: 'invalid', message: /^thinking: .*1024/ });
});
