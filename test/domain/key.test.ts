import test from 'ava';
import fc from 'fast-check';
import { foldKey } from '#shared/command.ts';
import type { DataOf, KeyDraft, KeyEvent, Recorded } from '#shared/contracts/events.ts';
import { parseEvent } from '#shared/contracts/events.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import { KeyView } from '#shared/contracts/store.ts';
import type { Key } from '#shared/domain/key.ts';
import { decide, evolve, keyView } from '#shared/domain/key.ts';
import { Failure } from '#shared/errors.ts';
import { hashOfSecret, newKeySecret, scrub } from '#shared/secrets.ts';
import { recorded } from '#test/helpers/events.ts';
import { allowModels } from '../../services/llm-proxy/keys/allow-models.ts';
import { createKeyring } from '../../services/llm-proxy/keys/keyring.ts';

const id = 'key_01ARZ3NDEKTSV4RRFFQ69G5FAV';
const secret = newKeySecret();
const nowMs = Date.parse('2026-01-01T00:00:00.000Z');
const terms = (changes: Record<string, unknown> = {}): KeyTerms => KeyTerms.parse({ name: 'ci', ...changes });
const mint = (changes: Record<string, unknown> = {}) =>
  ({ type: 'mint', terms: terms(changes), hash: hashOfSecret(secret), owner: 'ann', nowMs }) as const;
const minted = (changes: Partial<DataOf<'toka.key.minted.v1'>> = {}): KeyDraft => ({
  type: 'toka.key.minted.v1',
  data: { ...terms(), hash: hashOfSecret(secret), owner: 'ann', ...changes },
});
const revoked: KeyDraft = { type: 'toka.key.revoked.v1', data: { reason: 'lost' } };
const events = (...drafts: KeyDraft[]) => recorded(`key/${id}`, drafts) as Recorded<KeyEvent>[];
const given = (...drafts: KeyDraft[]): Key => {
  const key = foldKey(events(...drafts));
  if (!key) throw new Error('no key came of it');
  return key;
};

test('a key is minted with what was asked, its time in UTC, and without its secret', (t) => {
  const asked = mint({
    models: ['gpt-*'],
    limits: { tokens: 5 },
    budget: { usd: 1.5, per: 'month' },
    workstream: 'docs',
    expiresAt: '2026-06-01T12:00:00+02:00',
  });
  const [draft, ...others] = decide(undefined, asked);
  t.is(others.length, 0);
  t.deepEqual(draft, {
    type: 'toka.key.minted.v1',
    data: {
      name: 'ci',
      models: ['gpt-*'],
      limits: { tokens: 5, window: 60 },
      budget: { usd: 1.5, per: 'month' },
      workstream: 'docs',
      expiresAt: '2026-06-01T10:00:00.000Z',
      hash: hashOfSecret(secret),
      owner: 'ann',
    },
  });
  const [event] = events(draft as KeyDraft);
  const { seq: _, ...sent } = event as Recorded<KeyEvent>;
  t.deepEqual(parseEvent(JSON.parse(JSON.stringify(sent))), sent);
  t.false(JSON.stringify(sent).includes(secret));
});

test('a key is minted once, and not for a time that has passed', (t) => {
  t.throws(() => decide(given(minted()), mint()), { instanceOf: Failure, code: 'conflict', message: new RegExp(id) });
  t.throws(() => decide(given(minted(), revoked), mint()), { instanceOf: Failure, code: 'conflict' });
  for (const expiresAt of ['2025-12-31T23:59:59Z', '2026-01-01T00:00:00Z', '2026-01-01T01:00:00+01:00']) {
    const failure = t.throws(() => decide(undefined, mint({ expiresAt })), { instanceOf: Failure, code: 'invalid' });
    t.deepEqual(failure?.problems, [{ field: 'expiresAt', message: 'must be in the future' }]);
  }
  t.is(decide(undefined, mint({ expiresAt: '2026-01-01T00:00:00.001Z' })).length, 1);
});

test('a key is revoked once; revoking it again changes nothing', (t) => {
  t.throws(() => decide(undefined, { type: 'revoke', reason: 'x' }), { instanceOf: Failure, code: 'not-found' });
  t.deepEqual(decide(given(minted()), { type: 'revoke', reason: 'lost' }), [revoked]);
  const gone = given(minted(), revoked);
  t.deepEqual(decide(gone, { type: 'revoke', reason: 'again' }), []);
  const [again] = events(minted({ name: 'other' }));
  t.deepEqual(evolve(gone, again as Recorded<KeyEvent>), gone, 'no event brings it back');
  t.is(foldKey(events(revoked)), undefined, 'what was never minted is no key');
});

test('a key is shown without its hash, and as expired from the moment that it names', (t) => {
  const expiresAt = '2026-01-01T00:00:00.000Z';
  const view = keyView(given(minted({ expiresAt })), nowMs - 1);
  t.is(view.state, 'active');
  t.deepEqual(KeyView.strict().parse(view), view);
  t.false('hash' in view);
  t.is(keyView(given(minted({ expiresAt })), nowMs).state, 'expired');
  t.is(keyView(given(minted({ expiresAt }), revoked), nowMs).state, 'revoked');
  t.is(keyView(given(minted()), Number.MAX_SAFE_INTEGER).state, 'active');
});

test('a secret is blotted out wherever it stands, and names that begin like one are not', (t) => {
  for (let count = 0; count < 200; count++) {
    const each = newKeySecret();
    for (const text of [each, `"x":"${each}"`, `line\\n${each}, more`, `Bearer ${each}-`, `key=${each}&a=b`])
      t.is(scrub(text), text.replace(each, '[secret]'));
  }
  const plain = 'toka_runs toka_archive_commit_seconds_bucket{le="1"} toka_llm';
  t.is(scrub(plain), plain);
  const hostile = 'toka_'.repeat(50_000);
  const startedMs = performance.now();
  scrub(hostile);
  t.true(performance.now() - startedMs < 2_000);
});

test('a keyring finds a key by its secret alone, until it expires or is revoked', (t) => {
  const ring = createKeyring();
  t.is(ring.find(secret, nowMs), undefined);
  const expiresAt = '2026-01-02T00:00:00.000Z';
  const limits = { requests: 7, tokens: 900, window: 30 };
  for (const event of events(minted({ limits, budget: { usd: 2, per: 'day' }, workstream: 'docs', expiresAt })))
    ring.apply(event);
  const found = ring.find(secret, nowMs);
  t.like(found, { id, name: 'ci', workstream: 'docs', expiresAt });
  t.deepEqual(found?.rules, [
    { by: 'key', match: id, kind: 'requests', limit: 7, windowMs: 30_000 },
    { by: 'key', match: id, kind: 'tokens', limit: 900, windowMs: 30_000 },
    { by: 'key', match: id, kind: 'usd', limit: 2, per: 'day' },
  ]);
  t.is(ring.find(secret, Date.parse(expiresAt) - 1), found);
  t.is(ring.find(secret, Date.parse(expiresAt)), undefined);
  const wrong = [
    '',
    'toka_',
    id,
    hashOfSecret(secret),
    `${secret}x`,
    secret.slice(0, -1),
    secret.toUpperCase(),
    newKeySecret(),
  ];
  for (const token of [...wrong, '\ud800'.repeat(48), 'x'.repeat(1_000_000)]) t.is(ring.find(token, nowMs), undefined);
  const [, gone] = events(minted(), revoked);
  ring.apply(gone as Recorded<KeyEvent>);
  t.is(ring.find(secret, nowMs), undefined);
  for (const event of events(minted())) ring.apply(event);
  t.is(ring.find(secret, nowMs), undefined, 'no event brings it back');
  t.is(ring.count(), 0);
});

test('another key with the hash of one that is known is none, and revoking it revokes nothing', (t) => {
  const ring = createKeyring();
  const copy = recorded('key/key_01ARZ3NDEKTSV4RRFFQ69G5FAW', [minted({ name: 'copy' }), revoked]);
  for (const event of [...events(minted()), ...(copy as Recorded<KeyEvent>[])]) ring.apply(event);
  t.is(ring.find(secret, nowMs)?.name, 'ci');
});

test('a key allows the models that it names, by any part of their names, and all where it names none', (t) => {
  const cases: [string[], string, boolean][] = [
    [[], 'anything', true],
    [['fast'], 'fast', true],
    [['fast'], 'faster', false],
    [['fast'], 'FAST', false],
    [['gpt-*'], 'gpt-5-mini', true],
    [['gpt-*'], 'my-gpt-5', false],
    [['*-mini'], 'gpt-5-mini', true],
    [['*'], 'x', true],
    [['a*a'], 'a', false],
    [['a*b*c'], 'a-b-b-c', true],
    [['a*b*c'], 'a-c-b', false],
    [['*bc*bc'], 'abc', false],
    [['claude.*'], 'claude-5', false],
    [['x', '*/llama-*'], 'meta/llama-4', true],
  ];
  for (const [patterns, name, allowed] of cases) t.is(allowModels(patterns)(name), allowed, `${patterns} ${name}`);
  const startedMs = performance.now();
  t.false(allowModels([`${'*a'.repeat(100)}*b`])('a'.repeat(10_000)));
  t.true(performance.now() - startedMs < 500);
});

test('globs mean what a regular expression of theirs would', (t) => {
  const letters = (from: string) => fc.string({ unit: fc.constantFrom(...from), maxLength: 8 });
  const check = () =>
    fc.assert(
      fc.property(letters('ab.*'), letters('ab.'), (pattern, name) => {
        const source = pattern.replaceAll('.', '\\.').replaceAll('*', '.*');
        return allowModels([pattern])(name) === new RegExp(`^${source}$`).test(name);
      }),
      { numRuns: 5_000 },
    );
  t.notThrows(check);
});
