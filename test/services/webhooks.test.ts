import { randomBytes } from 'node:crypto';
import test from 'ava';
import { isWebhookEvent } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway } from '#test/helpers/gateway.ts';
import { startReceiver, verify } from '#test/helpers/receiver.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const inside = { WEBHOOK_EXEMPT: '127.0.0.0/8', WEBHOOK_PLAIN_HTTP: 'true', WEBHOOK_BACKOFF: '0.02' };

/** An event that a test knows again by its reason. */
const append = ({ bus }: Gateway, reason: string, run = newId('run')) =>
  bus.append(newEvent({ type: 'toka.run.dispatched.v1', data: { reason } }, `run/${run}`, writer));

async function make({ call }: Gateway, body: object) {
  const { status, json, text, headers } = await call('POST', '/webhooks', { types: ['toka.run.*'], ...body });
  if (status !== 201) throw new Error(text);
  return { id: String(json.id), secret: String(json.secret), view: json, seq: headers.get('toka-seq') };
}

test('a webhook is made with its secret shown once, gets signed events, is read, listed and deleted', async (t) => {
  await using receiver = await startReceiver();
  await using gateway = await startGateway(inside);
  const { call, bus } = gateway;
  await append(gateway, 'before');
  const { id, secret, view, seq } = await make(gateway, { url: receiver.url });
  t.regex(id, /^whk_[0-9A-Z]{26}$/);
  t.regex(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  const { secret: _, createdAt, ...rest } = view;
  t.true(Math.abs(Date.now() - Date.parse(createdAt)) < 60_000);
  t.deepEqual(rest, {
    ...{ id, url: receiver.url, types: ['toka.run.*'], agent: null, workstream: null },
    ...{ owner: 'ann', state: 'active', disabled: null },
  });

  await append(gateway, 'after');
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
  await make(gateway, { url: later.url });
  const count = receiver.all.length;
  await append(gateway, 'last');
  await later.got(1);
  t.is(receiver.all.length, count, 'nothing more comes to one that is deleted');
});
