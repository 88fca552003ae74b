import test from 'ava';
import { SignJWT } from 'jose';
import { listEvents } from '#shared/contracts/store.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { secret, startGateway } from '#test/helpers/gateway.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { fill } from '#test/helpers/two-workstreams.ts';
import { inside, makeWebhook } from '#test/helpers/webhooks.ts';

// All that is beta's has the word "hush" in it; a webhook of alpha's must never carry it.

const limitedTo = async (...workstreams: string[]) => {
  const token = new SignJWT({ scope: 'admin', workstreams }).setProtectedHeader({ alg: 'HS256' }).setSubject('eve');
  return `Bearer ${await token.setExpirationTime('1h').sign(new TextEncoder().encode(secret))}`;
};

test("a limited token's webhook gets what the token could read and nothing else; another's webhooks are not there", async (t) => {
  await using receiver = await startReceiver();
  await using all = await startReceiver();
  await using gateway = await startGateway(inside);
  const { call, bus } = gateway;
  const authorization = await limitedTo('alpha');
  const asks = (method: string, path: string, body?: unknown) => call(method, path, body, { authorization });

  const own = await asks('POST', '/webhooks', { url: receiver.url });
  t.is(own.status, 201, own.text);
  t.is(own.json.workstream, 'alpha', 'it is of the one workstream that the token is limited to');
  t.is((await asks('POST', '/webhooks', { url: receiver.url, workstream: 'beta' })).status, 403);
  const two = await limitedTo('alpha', 'gamma');
  const unsaid = await call('POST', '/webhooks', { url: receiver.url }, { authorization: two });
  t.is(unsaid.status, 403, 'of two, one has to be named');
  const named = { url: receiver.url, workstream: 'gamma' };
  t.is((await call('POST', '/webhooks', named, { authorization: two })).status, 201);
  const hers = await makeWebhook(gateway, { url: `${all.url}?hush`, types: [], workstream: 'beta' });
  const whole = await makeWebhook(gateway, { url: `${all.url}?whole-hush`, types: [] });

  const alpha = await fill(gateway, 'alpha', 'scout', 'plain');
  await fill(gateway, 'beta', 'rival', 'hush');
  const last = await fill(gateway, 'alpha', 'finch', 'plain too');
  await eventually(() => receiver.all.some(({ body }) => body.includes(last.run) && body.includes('toka.llm.called')));
  const text = receiver.all.map(({ body }) => body).join('\n');
  t.notRegex(text, /hush/);
  for (const subject of [`agent/scout`, `run/${alpha.run}`, `key/${alpha.key}`, 'memory/scout', 'llm/internal'])
    t.true(text.includes(`"subject":"${subject}"`), subject);
  t.notRegex(text, /toka\.(webhook|system)\./);
  await eventually(() => all.all.some(({ body }) => body.includes('hush')));

  for (const id of [hers.id, whole.id])
    for (const [method, path] of [
      ['GET', `/webhooks/${id}`],
      ['DELETE', `/webhooks/${id}`],
      ['POST', `/webhooks/${id}/enable`],
      ['POST', `/webhooks/${id}/test`],
    ] as const) {
      const answer = await asks(method, path);
      t.is(answer.status, 404, `${method} ${path}`);
      t.notRegex(answer.text, /hush/);
    }
  t.is((await call('GET', `/webhooks/${hers.id}`)).status, 200);
  const { json } = await asks('GET', `/webhooks?minSeq=${await bus.lastSeq()}`);
  t.deepEqual(
    json.items.map(({ id }: { id: string }) => id),
    [own.json.id],
  );
  const seen = await bus.ask(listEvents, { workstreams: ['alpha'], limit: 500, type: 'toka.webhook.created.v1' });
  t.deepEqual(
    seen.items.map(({ subject }) => subject),
    [`webhook/${own.json.id}`],
  );
  t.is((await asks('DELETE', `/webhooks/${own.json.id}`)).status, 204);
});
