import test from 'ava';
import { isWebhookEvent } from '#shared/contracts/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { secret, startGateway, token } from '#test/helpers/gateway.ts';
import { startReceiver, verify } from '#test/helpers/receiver.ts';
import { inside, makeWebhook, tell } from '#test/helpers/webhooks.ts';
import { Config } from '../../services/gateway/config.ts';

const next = 'the-next-secret-of-the-tests-that-is-long-enough';

test('JWT_SECRET is replaced without a token or a webhook that stops working, and the old one then counts for nothing', async (t) => {
  await using receiver = await startReceiver();
  await using gateway = await startGateway(inside);
  const { bus, call } = gateway;
  const { id, secret: hers } = await makeWebhook(gateway, { url: receiver.url });
  await tell(gateway, 'before');
  await receiver.got(1);
  const [old, fresh] = [await token(), await token('admin', { key: next })];
  const ask = async (url: string, bearer: string) =>
    (await call('GET', `${url}/agents`, undefined, { authorization: `Bearer ${bearer}` })).status;
  t.deepEqual([await ask(gateway.url, old), await ask(gateway.url, fresh)], [200, 401]);
  await gateway.stop();

  const during = await gateway.another({ JWT_SECRET: next, JWT_SECRET_PREVIOUS: secret });
  t.deepEqual([await ask(during.url, old), await ask(during.url, fresh)], [200, 200]);
  t.is(await ask(during.url, await token('admin', { key: 'a-third-secret-that-nobody-has-ever-set' })), 401);
  t.is(await ask(during.url, await token('admin', { expires: '-1h' })), 401);
  await tell(gateway, 'during');
  await receiver.got(2);
  await eventually(async () =>
    (await bus.read('webhook', id)).filter(isWebhookEvent).some(({ type }) => type === 'toka.webhook.resealed.v1'),
  );
  t.notRegex(JSON.stringify(await bus.read('webhook', id)), new RegExp(hers.slice('whsec_'.length, 30)));
  await during.stop();

  const after = await gateway.another({ JWT_SECRET: next });
  t.deepEqual([await ask(after.url, old), await ask(after.url, fresh)], [401, 200]);
  await tell(gateway, 'after');
  await receiver.got(3);
  t.deepEqual(receiver.reasons(), ['before', 'during', 'after']);
  for (const received of receiver.all) t.truthy(verify(hers, received), 'signed with the secret that its owner knows');
  t.is((await bus.read('webhook', id)).length, 2, 'it is sealed anew once');
});

test('the secret before has to be as good as its successor, and needs one', (t) => {
  for (const settings of [
    { JWT_SECRET: next, JWT_SECRET_PREVIOUS: 'short' },
    { JWT_SECRET: next, JWT_SECRET_PREVIOUS: 'change-me-change-me-change-me-change-me' },
    { JWT_JWKS_URL: 'https://issuer.example/keys', JWT_SECRET_PREVIOUS: secret },
  ])
    t.is(Config.safeParse(settings).error?.issues[0]?.path[0], 'JWT_SECRET_PREVIOUS');
  t.true(Config.safeParse({ JWT_SECRET: next, JWT_SECRET_PREVIOUS: secret }).success);
});
