import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway } from '#test/helpers/gateway.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { makeWebhook, tell } from '#test/helpers/webhooks.ts';

// A webhook leads to the internet, or to what whoever runs Toka has named; never to what only the gateway can reach.

const notPublic = /^url cannot be delivered to: .*leads to a network that is not public/;
const noUrl = /^url must be a URL such as|^url has no host/;

const inner = [
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '0x7f.1',
  '１２７.０.０.１',
  '127.0.0.1.',
  '0.0.0.0',
  '0',
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '169.254.169.254',
  '0xa9fea9fe',
  '168.63.129.16',
  '100.100.100.200',
  '224.0.0.1',
  '255.255.255.255',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  '[fe80::1]',
  '[fd00:ec2::254]',
  '[fc00::1]',
  '[ff02::1]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'one.inside.test',
  'six.inside.test',
  'mixed.inside.test',
];
const names: Record<string, string[]> = {
  localhost: ['127.0.0.1', '::1'],
  'one.inside.test': ['10.1.2.3'],
  'six.inside.test': ['::ffff:10.1.2.3'],
  'mixed.inside.test': ['93.184.216.34', '127.0.0.1'],
  'public.test': ['93.184.216.34'],
};
const resolve = async (host: string) => names[host] ?? Promise.reject(new Error('no such name'));

test('no spelling of an address inside, and no name that leads there, is taken; nor is plain HTTP', async (t) => {
  await using gateway = await startGateway({}, resolve);
  const { call, bus } = gateway;
  for (const host of inner)
    for (const port of ['', ':8443']) {
      const { status, json, text } = await call('POST', '/webhooks', { url: `https://${host}${port}/hook` });
      t.is(status, 400, `${host}: ${text}`);
      t.regex(json.detail, notPublic, host);
      t.is(json.errors[0].field, 'url');
    }
  for (const url of ['https://[fe80::1%25eth0]/', 'https://exa mple.com/', 'https://%31%32%37.0.0.1:x/']) {
    const { status, json } = await call('POST', '/webhooks', { url });
    t.is(status, 400, url);
    t.regex(json.detail, noUrl);
  }
  const unknown = await call('POST', '/webhooks', { url: 'https://nowhere.test/' });
  t.regex(unknown.json.detail, /^url cannot be delivered to: nowhere\.test: there is no such name/);
  const plain = await call('POST', '/webhooks', { url: 'http://public.test/' });
  t.regex(plain.json.detail, /^url must begin with https:\/\//);
  t.is(await bus.lastSeq('toka.events.webhook.*'), 0);
  t.is((await call('POST', '/webhooks', { url: 'https://public.test/' })).status, 201);
});

test('a name that leads elsewhere by the time of the delivery leads nowhere: it is asked once, and the answer is checked', async (t) => {
  await using receiver = await startReceiver();
  let leadsTo = '93.184.216.34';
  let asked = 0;
  const rebinding = async () => {
    asked += 1;
    return [leadsTo];
  };
  await using gateway = await startGateway({ WEBHOOK_PLAIN_HTTP: 'true', WEBHOOK_BACKOFF: '0.02' }, rebinding);
  const url = `http://rebinding.test:${receiver.port}/hook`;
  const { id } = await makeWebhook(gateway, { url });
  leadsTo = '127.0.0.1';
  await tell(gateway, 'secret things');
  const { lastFailure } = await eventually(async () => {
    const { json } = await gateway.call('GET', `/webhooks/${id}`);
    return json.delivery?.failures > 2 && json.delivery;
  });
  t.regex(lastFailure, /leads to a network that is not public/);
  t.notRegex(lastFailure, /127\.0\.0\.1/);
  const before = asked;
  const tried = await gateway.call('POST', `/webhooks/${id}/test`);
  t.like(tried.json, { outcome: 'failed', status: null });
  t.true(asked > before);
  t.is(receiver.all.length, 0);
});

test('a redirect to the inside is a failure, and nobody follows it', async (t) => {
  await using target = await startReceiver();
  await using receiver = await startReceiver(() => ({ status: 307, headers: { location: target.url } }));
  const exempt = { WEBHOOK_EXEMPT: `127.0.0.1:${receiver.port}`, WEBHOOK_PLAIN_HTTP: 'true', WEBHOOK_BACKOFF: '0.02' };
  await using gateway = await startGateway(exempt);
  const { id } = await makeWebhook(gateway, { url: receiver.url });
  await tell(gateway, '1');
  await receiver.got(2);
  t.is(target.all.length, 0);
  t.like((await gateway.call('POST', `/webhooks/${id}/test`)).json, {
    outcome: 'failed',
    status: 307,
    reason: 'it answered 307: redirects are not followed',
  });
  const { status, json } = await gateway.call('POST', '/webhooks', { url: target.url });
  t.is(status, 400, 'another port of the same address was not named');
  t.regex(json.detail, notPublic);
});

test('an answer without end is not read to its end, and one that drips ends in time', async (t) => {
  await using endless = await startReceiver(() => ({ status: 200, body: 'x'.repeat(20_000_000) }));
  await using drip = await startReceiver(() => ({ status: 200, delayMs: 60_000 }));
  const inside = { WEBHOOK_EXEMPT: '127.0.0.0/8', WEBHOOK_PLAIN_HTTP: 'true', WEBHOOK_TIMEOUT: '0.5' };
  await using gateway = await startGateway(inside);
  const big = await makeWebhook(gateway, { url: endless.url });
  const late = await makeWebhook(gateway, { url: drip.url });
  t.like((await gateway.call('POST', `/webhooks/${big.id}/test`)).json, { outcome: 'delivered', status: 200 });
  const { json } = await gateway.call('POST', `/webhooks/${late.id}/test`);
  t.like(json, { outcome: 'failed', status: null, reason: 'there was no answer within 0.5 s' });
  t.true(json.durationMs < 5_000);
});
