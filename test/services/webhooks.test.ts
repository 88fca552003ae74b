import { randomBytes } from 'node:crypto';
import test from 'ava';
import { isWebhookEvent } from '#shared/contracts/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { makeKey, signed, startIssuer } from '#test/helpers/issuer.ts';
import { startReceiver, verify } from '#test/helpers/receiver.ts';
import { inside, makeWebhook, tell } from '#test/helpers/webhooks.ts';

test('a webhook is made with its secret shown once, gets signed events, is read, listed and deleted', async (t) => {
  await using receiver = await startReceiver();
  await using gateway = await startGateway(inside);
  const { call, bus } = gateway;
  await tell(gateway, 'before');
  const { id, secret, view, seq } = await makeWebhook(gateway, { url: receiver.url });
  t.regex(id, /^whk_[0-9A-Z]{26}$/);
  t.regex(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  const { secret: _, createdAt, ...rest } = view;
  t.true(Math.abs(Date.now() - Date.parse(createdAt)) < 60_000);
  t.deepEqual(rest, {
    ...{ id, url: receiver.url, types: ['toka.run.*'], agent: null, workstream: null },
    ...{ owner: 'ann', state: 'active', disabled: null },
  });

  await tell(gateway, 'after');
  const [received] = await receiver.got(1);
  if (!received) return t.fail();
  t.like(verify(secret, received), { type: 'toka.run.dispatched.v1', data: { reason: 'after' }, specversion: '1.0' });
  t.is(received.id, JSON.parse(received.body).id, 'the id is the event’s');
  t.like(received.headers, { 'content-type': 'application/cloudevents+json; charset=utf-8' });
  t.throws(() => verify(`whsec_${randomBytes(32).toString('base64')}`, received));
  t.throws(() => verify(secret, { ...received, body: received.body.replace('after', 'other') }));

  const shown = await eventually(async () => {
    const { json } = await call('GET', `/webhooks/${id}`);
    return json.delivery && json;
  });
  t.like(shown, { id, state: 'active', delivery: { failures: 0, failingSince: null, lastFailure: null } });
  t.true(shown.delivery.seq > Number(seq));
  const list = await call('GET', `/webhooks?minSeq=${seq}`);
  t.deepEqual(list.json, { items: [{ ...rest, createdAt }], nextCursor: null });

  const tried = await call('POST', `/webhooks/${id}/test`);
  t.like(tried.json, { outcome: 'delivered', status: 204 });
  t.like(verify(secret, receiver.all.at(-1) ?? received), { type: 'toka.webhook.test.v1', actor: 'user:ann' });

  const [made] = (await bus.read('webhook', id)).filter(isWebhookEvent);
  t.like(made, { actor: 'user:ann', type: 'toka.webhook.created.v1', data: { owner: 'ann' } });
  const everything = JSON.stringify([await bus.read('webhook', '*'), list.json, shown]);
  for (const part of [secret, secret.slice('whsec_'.length)]) t.false(everything.includes(part));
  t.notRegex(JSON.stringify([list.json, shown]), /sealed/);

  const gone = await call('DELETE', `/webhooks/${id}`);
  t.is(gone.status, 204);
  t.is((await call('DELETE', `/webhooks/${id}`)).status, 204, 'deleting it again is no error');
  for (const [method, path] of [
    ['GET', `/webhooks/${id}`],
    ['POST', `/webhooks/${id}/enable`],
    ['POST', `/webhooks/${id}/test`],
  ] as const)
    t.is((await call(method, path)).status, 404, path);
  const left = await call('GET', `/webhooks?minSeq=${gone.headers.get('toka-seq')}`);
  t.deepEqual(left.json.items, []);
  await using later = await startReceiver();
  await makeWebhook(gateway, { url: later.url });
  const count = receiver.all.length;
  await tell(gateway, 'last');
  await later.got(1);
  t.is(receiver.all.length, count, 'nothing more comes to one that is deleted');
});

test('what is not as it should be is refused with each field, and makes nothing', async (t) => {
  await using gateway = await startGateway(inside);
  const { call, bus } = gateway;
  const url = 'http://127.0.0.1:9/';
  const secret = `whsec_${randomBytes(16).toString('base64')}`;
  const bad: [unknown, number, RegExp][] = [
    [undefined, 400, /the body is missing/],
    [{}, 400, /url is missing/],
    [{ url: 'example.com' }, 400, /^url must be a URL such as/],
    [{ url: 'ftp://example.com/' }, 400, /^url must be a URL such as/],
    [{ url: 'https://me:pass@example.com/' }, 400, /^url must be .* without user, password/],
    [{ url: 'https://example.com/#x' }, 400, /^url must be/],
    [{ url: `https://example.com/${'x'.repeat(2_000)}` }, 400, /^url must be at most 2000 characters/],
    [{ url, types: ['toka.run.completd.v1'] }, 400, /^types.0 is no type of event that is delivered$/],
    [{ url, types: ['toka.run.*', 'toka.webhook.*'] }, 400, /^types.1 is no type of event that is delivered$/],
    [{ url, types: ['TOKA'] }, 400, /^types.0 must be a type such as/],
    [{ url, agent: '../x' }, 400, /^agent must be/],
    [{ url, workstream: '' }, 400, /^workstream must not be empty/],
    [{ url, secret: 'short' }, 400, /^secret must be "whsec_" and 24 to 64 bytes in base64/],
    [{ url, secret }, 400, /^secret must be "whsec_"/],
    [{ url, typs: [] }, 400, /typs is not a known field; did you mean "types"/],
  ];
  for (const [body, status, detail] of bad) {
    const answer = await call('POST', '/webhooks', body);
    t.is(answer.status, status, answer.text);
    t.regex(answer.json.detail, detail);
    t.false(answer.text.includes(secret));
  }
  t.is(await bus.lastSeq('toka.events.webhook.*'), 0);
  const authorization = `Bearer ${await token('events:read runs:write')}`;
  t.is((await call('POST', '/webhooks', { url }, { authorization })).status, 403, 'it takes the scope admin');
  t.is((await call('GET', '/webhooks', undefined, { authorization })).status, 403);
});

test('an Idempotency-Key makes one webhook; a secret may be brought along; there are no more than may be', async (t) => {
  await using gateway = await startGateway({ ...inside, WEBHOOKS_MAX: '2' });
  const { call } = gateway;
  const secret = `whsec_${randomBytes(24).toString('base64')}`;
  const body = { url: 'http://127.0.0.1:9/', secret };
  const make = (once: string) => call('POST', '/webhooks', body, { 'idempotency-key': once });
  const made = await make('a');
  t.is(made.json.secret, secret);
  const again = await make('a');
  t.is(again.status, 409);
  t.true(again.json.detail.includes(made.json.id));
  t.is((await make('b')).status, 201);
  const more = await eventually(async () => {
    const answer = await call('POST', '/webhooks', body);
    return answer.status === 409 && answer;
  });
  t.regex(more.json.detail, /there are 2 webhooks, and no more may be \(WEBHOOKS_MAX\)/);
});

test('without JWT_SECRET there is nothing to seal a secret with, and it says so', async (t) => {
  const key = await makeKey('one', 'ES256');
  await using issuer = await startIssuer(key);
  await using gateway = await startGateway({ JWT_SECRET: '', JWT_JWKS_URL: issuer.url });
  const headers = { authorization: `Bearer ${await signed(key, { sub: 'ann', scope: 'admin' })}` };
  const answer = await gateway.call('POST', '/webhooks', { url: 'https://example.com/' }, headers);
  t.is(answer.status, 409, answer.text);
  t.regex(answer.json.detail, /webhooks need JWT_SECRET/);
});
