import test from 'ava';
import { isWebhookEvent } from '#shared/contracts/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway } from '#test/helpers/gateway.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { inside, makeWebhook, tell, tellAll } from '#test/helpers/webhooks.ts';

// At least once, in order, each webhook at its own pace, whatever stops in between.

/** Each the first time it came. */
const firsts = (reasons: readonly string[]) => [...new Set(reasons)];

test('what fails is tried again until it is taken, with the same id, before anything later; Retry-After is kept', async (t) => {
  const statuses = [500, 302, 429, 404];
  await using receiver = await startReceiver((count) => {
    const status = statuses[count] ?? 200;
    const headers: Record<string, string> = status === 429 ? { 'retry-after': '1' } : { location: '/elsewhere' };
    return { status, headers };
  });
  await using gateway = await startGateway(inside);
  const { id } = await makeWebhook(gateway, { url: receiver.url });
  await tellAll(gateway, 3);
  const all = await receiver.got(7);
  t.deepEqual(receiver.reasons(), ['1', '1', '1', '1', '1', '2', '3']);
  t.is(new Set(all.map((each) => each.id)).size, 3);
  t.true((all[3]?.atMs ?? 0) - (all[2]?.atMs ?? 0) >= 1_000, 'it waited as long as it was told');
  t.true(Number(all[3]?.headers['webhook-timestamp']) > Number(all[0]?.headers['webhook-timestamp']));
  await eventually(async () => (await gateway.call('GET', `/webhooks/${id}`)).json.delivery?.failures === 0);
});

test('a gateway that is started again goes on where it was, and another takes over what one was at', async (t) => {
  await using receiver = await startReceiver();
  await using gateway = await startGateway(inside);
  await makeWebhook(gateway, { url: receiver.url });
  await tellAll(gateway, 20);
  await receiver.got(20);
  await gateway.stop();
  await tellAll(gateway, 20, 21);
  t.is(receiver.all.length, 20, 'nobody delivers now');
  const second = await gateway.another();
  await receiver.got(40);
  const third = await gateway.another();
  await tellAll(gateway, 20, 41);
  await receiver.got(60);
  await second.stop();
  const told = [...(await tellAll(gateway, 20, 61))];
  await receiver.got(80);
  t.deepEqual(
    receiver.reasons(),
    Array.from({ length: 80 }, (_, index) => String(index + 1)),
    'none is missing, none came twice: each had been told to stop',
  );
  t.is(told.at(-1), '80');
  await third.stop();
});

test('one that is never answered, one that is slow and one that is away hold up no other', async (t) => {
  await using never = await startReceiver(() => undefined);
  await using slow = await startReceiver(() => ({ delayMs: 300 }));
  await using good = await startReceiver();
  await using gateway = await startGateway({ ...inside, WEBHOOK_TIMEOUT: '60', SHUTDOWN_GRACE: '1' });
  for (const url of [never.url, slow.url, 'http://127.0.0.1:9/', good.url]) await makeWebhook(gateway, { url });
  const reasons = await tellAll(gateway, 50);
  // On a busy machine the lease may lapse, and then one comes twice.
  await eventually(() => firsts(good.reasons()).length === 50);
  t.deepEqual(firsts(good.reasons()), reasons);
  t.true(slow.all.length < 50);
  await slow.got(3);
  t.deepEqual(slow.reasons().slice(0, 3), ['1', '2', '3']);
  t.is(never.all.length, 1, 'one at a time, and that one is still waited for');
});

test('one that is gone is disabled at once, with an event; enabled, it gets what it missed, or what comes from then on', async (t) => {
  let gone = true;
  await using receiver = await startReceiver(() => ({ status: gone ? 410 : 200 }));
  await using other = await startReceiver();
  await using gateway = await startGateway(inside);
  const { call, bus } = gateway;
  const { id } = await makeWebhook(gateway, { url: receiver.url });
  await makeWebhook(gateway, { url: other.url, types: [] });
  const view = () => call('GET', `/webhooks/${id}`);
  const disabled = async () =>
    eventually(async () => {
      const { json } = await view();
      return json.state === 'disabled' && json;
    });
  await tellAll(gateway, 2);
  t.regex((await disabled()).disabled.reason, /^it was not delivered to: it answered 410 \(Gone\)$/);
  t.is(receiver.all.length, 1);
  const event = (await bus.read('webhook', id)).filter(isWebhookEvent).at(-1);
  t.like(event, { type: 'toka.webhook.disabled.v1', actor: 'service:gateway' });
  await tell(gateway, '3');

  gone = false;
  const enabled = await call('POST', `/webhooks/${id}/enable`);
  t.like(enabled.json, { id, state: 'active', disabled: null });
  t.is((await call('POST', `/webhooks/${id}/enable`)).headers.get('toka-seq'), enabled.headers.get('toka-seq'));
  await receiver.got(4);
  t.deepEqual(receiver.reasons(), ['1', '1', '2', '3']);

  gone = true;
  await tell(gateway, '4');
  await disabled();
  await tell(gateway, '5');
  gone = false;
  await call('POST', `/webhooks/${id}/enable`, { skip: true, reason: 'mended' });
  await tell(gateway, '6');
  await receiver.got(6);
  t.deepEqual(receiver.reasons(), ['1', '1', '2', '3', '4', '6']);
  await eventually(() => other.reasons().includes('6'));
  t.false(
    other.types().some((type) => type.startsWith('toka.webhook.')),
    'what becomes of webhooks is delivered to none',
  );
});

test('one that fails often enough for long enough is disabled with the reason, and what it did before is forgiven once it is enabled', async (t) => {
  await using receiver = await startReceiver(() => ({ status: 503 }));
  const patience = { WEBHOOK_FAILURES_MAX: '3', WEBHOOK_FAILING_HOURS_MAX: '0.00001', WEBHOOK_BACKOFF: '0.05' };
  await using gateway = await startGateway({ ...inside, ...patience });
  const { call } = gateway;
  const { id } = await makeWebhook(gateway, { url: receiver.url });
  await tell(gateway, '1');
  for (const count of [3, 6]) {
    const view = await eventually(async () => {
      const { json } = await call('GET', `/webhooks/${id}`);
      return json.state === 'disabled' && json;
    });
    t.regex(view.disabled.reason, /it answered 503, 3 times in a row since 20/);
    t.is(receiver.all.length, count);
    await call('POST', `/webhooks/${id}/enable`);
  }
  const { text } = await call('GET', '/metrics');
  t.regex(text, /toka_webhook_deliveries_total\{[^}]*outcome="failed"[^}]*\} [6-9]/);
  t.regex(text, /toka_webhooks_disabled_total\{[^}]*\} [2-9]/);
});

test('a log that fails half of the time is delivered whole and in order over gateways that come and go', async (t) => {
  await using receiver = await startReceiver((count) => ({ status: count % 2 === 0 ? 500 : 200 }));
  await using gateway = await startGateway({ ...inside, WEBHOOK_BACKOFF: '0.01' });
  await makeWebhook(gateway, { url: receiver.url });
  const told: string[] = [];
  let current: { stop(): Promise<void> } = gateway;
  for (const from of [1, 31, 61]) {
    told.push(...(await tellAll(gateway, 30, from)));
    await receiver.got(from * 2);
    const next = await gateway.another();
    await current.stop();
    current = next;
  }
  await eventually(() => receiver.reasons().filter((reason) => reason === '90').length >= 2);
  t.deepEqual(firsts(receiver.reasons()), told);
  await current.stop();
});

test('who tries out a receiver that does not answer, however often, holds up no delivery', async (t) => {
  await using silent = await startReceiver(() => undefined);
  await using receiver = await startReceiver();
  await using gateway = await startGateway({ ...inside, WEBHOOKS_MAX: '2', WEBHOOK_TIMEOUT: '10' });
  const { id } = await makeWebhook(gateway, { url: silent.url, types: ['toka.key.*'] });
  const other = await makeWebhook(gateway, { url: receiver.url });
  const tries = Array.from({ length: 30 }, () => gateway.call('POST', `/webhooks/${id}/test`));
  await silent.got(4);
  await tell(gateway, 'all the same');
  await receiver.got(1);
  t.is((await gateway.call('GET', `/webhooks/${other.id}`)).json.delivery?.failures ?? 0, 0);
  const statuses = (await Promise.all(tries)).map(({ status }) => status);
  t.is(statuses.filter((status) => status === 429).length, 26, 'four at a time for one caller');
  t.is(silent.all.length, 4);
});
