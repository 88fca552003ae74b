import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import Koa from 'koa';
import { connect } from 'nats';
import { getArchive } from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { facts } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import type { Message } from '#test/helpers/sse.ts';
import { readBlocks, readEvents } from '#test/helpers/sse.ts';
import { streamEvents } from '../../services/gateway/sse.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

const append = ({ bus }: Gateway, service: string, instance: string) => {
  const data = { service: 'test', instance, version: '1' };
  return bus.append(newEvent({ type: 'toka.system.started.v1', data }, `system/${service}`, writer));
};

const open = ({ url, admin }: Gateway, query = '', headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(`${url}/events${query}`, { headers: { authorization: `Bearer ${admin}`, ...headers }, signal });

/** So many events of a stream, which is then let go. */
async function take(gateway: Gateway, count: number, query = '', headers: Record<string, string> = {}) {
  const abort = new AbortController();
  const taken: Message[] = [];
  for await (const message of readEvents(await open(gateway, query, headers, abort.signal))) {
    taken.push(message);
    if (taken.length >= count) break;
  }
  abort.abort();
  return taken;
}

const instances = (messages: readonly Message[]) => messages.map(({ data }) => data.data.instance);
const numbers = (count: number) => Array.from({ length: count }, (_, index) => String(index));

test('a stream that reconnects again and again with Last-Event-ID misses nothing and doubles nothing', async (t) => {
  await using gateway = await startGateway();
  const total = 600;
  const appending = (async () => {
    for (const instance of numbers(total)) {
      await append(gateway, 'mine', instance);
      await append(gateway, 'another', instance);
    }
  })();
  const seen: Message[] = [];
  let connections = 0;
  while (seen.length < total) {
    connections += 1;
    const count = Math.min(1 + (connections % 7) * 13, total - seen.length);
    const last = String(seen.at(-1)?.id ?? 0);
    seen.push(...(await take(gateway, count, '?subject=system/mine', { 'last-event-id': last })));
  }
  await appending;
  t.true(connections > 10, `${connections} connections`);
  t.deepEqual(instances(seen), numbers(total));
  t.true(seen.every(({ event, data }) => event === data.type && data.subject === 'system/mine'));
  t.deepEqual(
    seen.map(({ id }) => id),
    (await gateway.bus.read('system', 'mine')).map(({ seq }) => seq),
  );
});

test('a thousand disconnects at random places under load: each of twenty readers has every event of the log once, in order', async (t) => {
  await using gateway = await startGateway();
  const [readers, cuts, total] = [20, 55, 2_000];
  let written = 0;
  const appending = (async () => {
    for (const instance of numbers(total)) {
      await append(gateway, 'mine', instance);
      written += 1;
    }
  })();
  let disconnects = 0;
  const readAll = async () => {
    const ids: number[] = [];
    for (let connection = 0; ids.length < total; connection++) {
      const left = total - ids.length;
      const count = connection < cuts ? Math.ceil((Math.random() * 2 * left) / (cuts - connection + 1)) : left;
      const last = String(ids.at(-1) ?? 0);
      const got = await take(gateway, Math.min(count, left), '?subject=system/mine', { 'last-event-id': last });
      ids.push(...got.map(({ id }) => id));
      disconnects += 1;
    }
    return ids;
  };
  const read = await Promise.all(Array.from({ length: readers }, readAll));
  await appending;
  t.true(disconnects >= 1_000, `${disconnects} disconnects`);
  t.is(written, total);
  const logged = (await gateway.bus.read('system', 'mine')).map(({ seq }) => seq);
  t.is(logged.length, total);
  for (const ids of read) t.deepEqual(ids, logged);
});

test('a stream goes on without gap or double when nats-server is killed and comes back', async (t) => {
  await using gateway = await startGateway();
  const { nats } = gateway;
  const total = 60;
  const reading = take(gateway, total, '?subject=system/mine&since=0');
  for (const instance of numbers(total)) {
    if (instance === '20') {
      await nats.kill();
      await nats.start();
    }
    await append(gateway, 'mine', instance);
  }
  t.deepEqual(instances(await reading), numbers(total));
});

test('without a position a stream begins now; with one, right after it', async (t) => {
  await using gateway = await startGateway();
  const first = await append(gateway, 'mine', 'before');
  const response = await open(gateway);
  t.is(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  t.is(response.headers.get('cache-control'), 'no-store, no-transform');
  await append(gateway, 'mine', 'after');
  const live = await readEvents(response).next();
  t.like(live.value, { id: first + 1, event: 'toka.system.started.v1' });
  t.deepEqual(instances(await take(gateway, 1, `?since=${first - 1}`)), ['before']);
  t.deepEqual(instances(await take(gateway, 1, `?since=${first - 1}`, { 'last-event-id': String(first) })), ['after']);
});

test('a stream holds the subjects and types that were asked for', async (t) => {
  await using gateway = await startGateway();
  await append(gateway, 'one', '1');
  const data = { service: 'test', instance: '2', reason: 'x' };
  await gateway.bus.append(newEvent({ type: 'toka.system.stopped.v1', data }, 'system/one', writer));
  await append(gateway, 'two', '3');
  await append(gateway, 'one', '4');
  const got = async (count: number, query: string) => instances(await take(gateway, count, `?since=0&${query}`));
  t.deepEqual(await got(3, 'subject=system/one'), ['1', '2', '4']);
  t.deepEqual(await got(1, 'subject=system/*&type=toka.system.stopped.v1'), ['2']);
  t.deepEqual((await got(5, 'type=toka.system.sta*')).slice(-3), ['1', '3', '4']);
});

test("somebody else's message on the log is passed over, and lines in one break no frame", async (t) => {
  await using gateway = await startGateway();
  const nc = await connect({ servers: gateway.nats.url });
  await nc.request('toka.events.system.mine', 'no event at all');
  const data = { service: 'test', instance: 'on many lines', version: '1' };
  const event = newEvent({ type: 'toka.system.started.v1', data }, 'system/mine', writer);
  await nc.request('toka.events.system.mine', JSON.stringify(event, null, 2).replace(/\n/g, '\r\n'));
  await nc.close();
  await append(gateway, 'mine', 'next');
  t.deepEqual(instances(await take(gateway, 2, '?subject=system/mine&since=0')), ['on many lines', 'next']);
});

test('what the stream keeps no longer comes from the archive, and the rest from the stream, without gap or double', async (t) => {
  await using gateway = await startGateway();
  const nc = await connect({ servers: gateway.nats.url });
  const jsm = await nc.jetstreamManager();
  const total = 700;
  let middle = 0;
  for (const instance of numbers(total)) {
    const seq = await append(gateway, 'mine', instance);
    await append(gateway, 'another', instance);
    if (instance === '450') middle = seq;
  }
  await gateway.bus.ask(getArchive, { minSeq: await gateway.bus.lastSeq() });
  await jsm.streams.purge('EVENTS', { seq: middle });
  await nc.close();
  t.deepEqual(instances(await take(gateway, total, '?subject=system/mine&since=0')), numbers(total));
  const all = await take(gateway, 900, '?since=0&type=toka.system.st*&subject=system/*');
  t.deepEqual(
    all.map(({ id }) => id),
    Array.from({ length: 900 }, (_, index) => (all[0]?.id ?? 0) + index),
  );
  const rest = await take(gateway, 5, '?subject=system/mine', { 'last-event-id': String(middle - 4) });
  t.deepEqual(instances(rest), ['449', '450', '451', '452', '453']);
});

test("a stream holds one agent's events alone, or one workstream's, its runs' among them", async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  for (const [name, workstream] of Object.entries({ one: 'docs', two: 'docs', three: 'main' })) {
    await call('POST', '/agents', agentInput({ name, workstream }));
    await call('POST', `/agents/${name}/runs`, { input: 'look' });
  }
  const data = { ...facts, key: 'internal', agentId: 'one', runId: null, outcome: 'ok' };
  await bus.append(newEvent({ type: 'toka.llm.called.v1', data }, 'llm/internal', writer));
  const types = async (count: number, query: string) =>
    (await take(gateway, count, `?since=0&${query}`)).map(({ event }) => event.slice(5, -3));
  t.deepEqual(await types(3, 'agent=one'), ['agent.registered', 'run.queued', 'llm.called']);
  t.deepEqual(await types(5, 'workstream=docs'), [
    ...['agent.registered', 'run.queued', 'agent.registered', 'run.queued', 'llm.called'],
  ]);
  t.deepEqual(await types(2, 'workstream=main'), ['agent.registered', 'run.queued']);
  t.deepEqual(await types(2, 'agent=one&type=toka.run.*,toka.llm.called.v1'), ['run.queued', 'llm.called']);
});

test('as many streams as allowed are open at a time, however many come at once', async (t) => {
  await using gateway = await startGateway({ SSE_CLIENTS_MAX: '3' });
  const abort = new AbortController();
  const responses = await Promise.all(Array.from({ length: 10 }, () => open(gateway, '', {}, abort.signal)));
  const refused = responses.filter(({ status }) => status === 503);
  t.is(refused.length, 7);
  t.is(refused[0]?.headers.get('retry-after'), '5');
  t.is((await gateway.call('GET', '/events')).json.detail, '3 event streams are open, which is as many as may be');
  abort.abort();
  await eventually(async () => {
    const again = await open(gateway);
    await again.body?.cancel();
    return again.status === 200;
  });
});

test('HEAD of the stream is answered and leaves nothing open', async (t) => {
  await using gateway = await startGateway({ SSE_CLIENTS_MAX: '1' });
  for (let index = 0; index < 5; index++) {
    await eventually(async () => (await gateway.call('HEAD', '/events')).status === 200);
  }
  t.is((await eventually(() => take(gateway, 1, '?since=0'))).length, 1);
});

test('a stream ends when its token expires, and when the gateway stops', async (t) => {
  await using gateway = await startGateway();
  const short = `Bearer ${await token('events:read', { expires: '1s' })}`;
  const [expiring, stopping] = await Promise.all([open(gateway, '', { authorization: short }), open(gateway)]);
  t.regex(await expiring.text(), /^retry: 1000\n/);
  const reading = readEvents(stopping);
  await append(gateway, 'mine', 'before the end');
  t.is((await reading.next()).value?.data.data.instance, 'before the end');
  await gateway.stop();
  t.true((await reading.next()).done, 'it ends as a response should');
});

test('a silent stream has heartbeats; whoever reads nothing is cut off, and holds up nobody', async (t) => {
  await using gateway = await startGateway();
  const { bus } = gateway;
  const ends: string[] = [];
  const app = new Koa();
  app.use((ctx) => {
    const { signal } = new AbortController();
    const options = { from: 1, subject: 'system/mine', wanted: async () => true, signal };
    const timing = { heartbeatMs: 50, stuckMsMax: 3_000, farewellMsMax: 50 };
    void streamEvents(bus, ctx, options, timing).then((how) => ends.push(`${ctx.path} ${how}`));
  });
  app.silent = true;
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const quiet = new AbortController();
  const blocks: string[] = [];
  const reading = (async () => {
    const response = await fetch(`http://127.0.0.1:${port}/quiet`, { signal: quiet.signal });
    for await (const block of readBlocks(response)) blocks.push(block);
  })();
  await eventually(() => blocks.length >= 4);
  t.deepEqual(blocks.slice(0, 4), ['retry: 1000\n: the event log of Toka', ': ', ': ', ': ']);

  const request = httpRequest({ port, host: '127.0.0.1', path: '/stuck' }).end();
  const [stuck] = await once(request, 'response');
  stuck.pause().on('error', () => undefined);
  for (let index = 0; index < 60; index++) await append(gateway, 'mine', 'x'.repeat(200_000));
  await eventually(() => blocks.filter((block) => block.startsWith('id: ')).length === 60);
  await eventually(() => ends.includes('/stuck stuck'));
  t.deepEqual(ends, ['/stuck stuck']);
  quiet.abort();
  await t.throwsAsync(reading, { name: 'AbortError' });
  await eventually(() => ends.includes('/quiet ended'));
  server.closeAllConnections();
  server.close();
});
