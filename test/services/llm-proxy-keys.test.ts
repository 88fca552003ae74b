import test from 'ava';
import { openBus } from '#shared/bus/bus.ts';
import { commandKey } from '#shared/command.ts';
import type { Draft } from '#shared/contracts/events.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { createLogger } from '#shared/log.ts';
import { hashOfSecret, newKeySecret } from '#shared/secrets.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startNats } from '#test/helpers/servers.ts';
import { openKeys } from '../../services/llm-proxy/keys/keys.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const logger = createLogger('llm-proxy', 'test', 'silent');

async function setUp() {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const owned = stack.move();
  const mint = async (changes: Record<string, unknown> = {}) => {
    const id = newId('key');
    const secret = newKeySecret();
    const terms = KeyTerms.parse({ name: 'ci', ...changes });
    const hash = hashOfSecret(secret);
    await commandKey(bus, id, { type: 'mint', terms, hash, owner: 'ann', nowMs: Date.now() }, writer);
    return { id, secret };
  };
  const revoke = (id: string) => commandKey(bus, id, { type: 'revoke', reason: 'lost' }, writer);
  return { nats, bus, mint, revoke, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test('keys are known as soon as they are open, and those minted and revoked later are seen', async (t) => {
  await using all = await setUp();
  const { bus, mint, revoke } = all;
  const early = await mint({ name: 'early', limits: { requests: 3 } });
  const gone = await mint();
  await revoke(gone.id);
  await using keys = await openKeys(bus, logger);
  t.like(keys.find(early.secret, Date.now()), { id: early.id, name: 'early' });
  t.is(keys.find(early.secret, Date.now())?.rules[0]?.match, early.id);
  t.is(keys.find(gone.secret, Date.now()), undefined);
  const later = await mint({ expiresAt: new Date(Date.now() + 60_000).toISOString() });
  await eventually(() => keys.find(later.secret, Date.now()));
  t.is(keys.find(later.secret, Date.now() + 60_000), undefined);
  await revoke(early.id);
  await eventually(() => keys.find(early.secret, Date.now()) === undefined);
  t.is(keys.find(later.secret, Date.now())?.id, later.id, 'the others stay');
  t.is(keys.state(), 'ok');
});

test('keys open on a log that has none, whatever else is in it', async (t) => {
  await using all = await setUp();
  const { bus, mint } = all;
  {
    await using keys = await openKeys(bus, logger);
    t.is(keys.find('toka_x', Date.now()), undefined);
  }
  const other = { type: 'toka.run.dispatched.v1', data: { reason: 'test' } } as const;
  await bus.append(newEvent(other as Draft, `run/${newId('run')}`, writer));
  await using keys = await openKeys(bus, logger);
  const { id, secret } = await mint();
  t.is((await eventually(() => keys.find(secret, Date.now()))).id, id);
});

test('each start reads all keys anew, more of them than one pull brings', async (t) => {
  await using all = await setUp();
  const { bus, mint, revoke } = all;
  const made = await Promise.all(Array.from({ length: 700 }, () => mint()));
  const gone = made.filter((_, index) => index % 7 === 0);
  await Promise.all(gone.map(({ id }) => revoke(id)));
  for (let start = 0; start < 2; start++) {
    await using keys = await openKeys(bus, logger);
    const known = made.filter(({ id, secret }) => keys.find(secret, Date.now())?.id === id);
    t.deepEqual(
      known,
      made.filter((each) => !gone.includes(each)),
    );
  }
});

test('keys are kept while NATS is away, and what changed is seen once it is back', async (t) => {
  await using all = await setUp();
  const { nats, bus, mint, revoke } = all;
  const { id, secret } = await mint();
  await using keys = await openKeys(bus, logger);
  await nats.kill();
  await eventually(() => !bus.connected());
  t.is(keys.find(secret, Date.now())?.id, id);
  const revoking = revoke(id);
  await nats.start();
  await revoking;
  const later = await mint();
  await eventually(() => keys.find(later.secret, Date.now()));
  t.is(keys.find(secret, Date.now()), undefined);
  t.is(keys.state(), 'ok');
});

test('an event that cannot be read is passed over, at the start and later', async (t) => {
  await using all = await setUp();
  const { bus, mint } = all;
  const { secret } = await mint();
  const bad = (hash: string) => {
    const data = { ...KeyTerms.parse({ name: 'bad' }), hash, owner: 'ann' };
    return bus.append(newEvent({ type: 'toka.key.minted.v1', data } as Draft, `key/${newId('key')}`, writer));
  };
  await bad('no hash');
  await using keys = await openKeys(bus, logger);
  t.truthy(keys.find(secret, Date.now()));
  await bad('A'.repeat(64));
  const later = await mint();
  await eventually(() => keys.find(later.secret, Date.now()));
});
