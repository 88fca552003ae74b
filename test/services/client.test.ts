import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import test from 'ava';
import { createClient } from '#shared/client/client.ts';
import { each } from '#shared/client/each.ts';
import { createEvents } from '#shared/client/events.ts';
import { Failure } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { startRelay } from '#test/helpers/relay.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

const append = ({ bus }: Gateway, instance: number, service = 'mine') =>
  bus.append(
    newEvent(
      { type: 'toka.system.started.v1', data: { service: 'test', instance: String(instance), version: '1' } },
      `system/${service}`,
      writer,
    ),
  );

const failureOf = async (promise: Promise<unknown>): Promise<Failure> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error(`no Failure, but ${String(error)}`);
};

test('what is written is read at once, page after page, and types are those of the contracts', async (t) => {
  await using gateway = await startGateway();
  const client = createClient({ url: gateway.url, token: async () => gateway.admin });
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    await client.createAgent({ body: agentInput({ name }) });
    const names = await Array.fromAsync(each(client.listAgents, { limit: 2 }));
    t.is(names.at(-1)?.id, name);
  }
  const { version, spec } = await client.getAgent({ id: 'c' });
  const replaced = await client.replaceAgent({
    ...{ id: 'c', 'If-Match': `"${version}"` },
    body: { ...spec, domain: 'other' },
  });
  t.is(replaced.spec.domain, 'other');
  t.is(await client.removeAgent({ id: 'e' }), undefined);
  t.deepEqual(
    (await Array.fromAsync(each(client.listAgents, { limit: 3 }))).map(({ id }) => id),
    ['a', 'b', 'c', 'd'],
  );
  t.true((await client.getHealth()).version.length > 0);
});

test('a refusal is a Failure with its code and every field that is wrong', async (t) => {
  await using gateway = await startGateway();
  const client = createClient({ url: gateway.url, token: gateway.admin });
  const wrong = await failureOf(
    client.createAgent({ body: { ...agentInput(), name: 'No', priority: 'urgent' as 'low' } }),
  );
  t.is(wrong.code, 'invalid');
  t.deepEqual(wrong.problems?.map(({ field }) => field).toSorted(), ['name', 'priority']);
  t.is((await failureOf(client.getAgent({ id: 'nobody' }))).code, 'not-found');
  t.is((await failureOf(client.getAgent({ id: '..' }))).code, 'invalid');
  t.is((await failureOf(createClient({ url: gateway.url }).listAgents())).code, 'unauthorized');
  const limited = createClient({ url: gateway.url, token: await token('runs:read') });
  const forbidden = await failureOf(limited.listAgents());
  t.is(forbidden.code, 'forbidden');
  t.regex(forbidden.message, /agents:read/);
  await client.createAgent({ body: agentInput() });
  t.is((await failureOf(client.replaceAgent({ id: 'scout', 'If-Match': '"1"', body: agentInput() }))).code, 'stale');
  t.is((await failureOf(client.replaceAgent({ id: 'scout', body: agentInput() }))).code, 'unconditional');
});

test('nobody there, an answer that is none, and one that does not come are told apart, and whoever gives up is let go', async (t) => {
  const server = createServer((request, response) => {
    if (request.url?.startsWith('/status')) response.writeHead(502).end('<html>bad gateway');
    if (request.url?.startsWith('/usage')) response.writeHead(200).end('{"items": 1}');
    if (request.url?.startsWith('/health')) response.writeHead(302, { location: 'http://elsewhere.example' }).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close().closeAllConnections());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createClient({ url, token: 'x', retries: 0 });
  t.is((await failureOf(client.getStatus())).code, 'upstream');
  t.regex((await failureOf(client.getUsage())).message, /items/);
  t.is((await failureOf(client.getHealth())).code, 'unavailable', 'the token goes nowhere else');
  t.is((await failureOf(client.listRuns({}, { timeoutMs: 300 }))).code, 'timeout');
  const abort = new AbortController();
  const asked = client.listRuns({}, { signal: abort.signal, timeoutMs: 60_000 });
  abort.abort(new Error('enough'));
  await t.throwsAsync(asked, { message: 'enough' });
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  t.is((await failureOf(client.listRuns())).code, 'unavailable');
});

test('a POST whose answer was lost is sent again, and done once', async (t) => {
  await using gateway = await startGateway();
  await using relay = await startRelay(gateway.url);
  const client = createClient({ url: relay.url, token: gateway.admin });
  await client.createAgent({ body: agentInput() });
  relay.loseAnswer();
  const run = await client.startRun({ id: 'scout', body: { input: 'once' } });
  const { items } = await client.listRuns();
  t.deepEqual(
    items.map(({ id }) => id),
    [run.id],
  );
  const again = () => client.startRun({ id: 'scout', body: { input: 'twice' } }, { idempotencyKey: 'mine' });
  t.is((await again()).id, (await again()).id);
});

test('events go on by themselves when connections break and the gateway is another one: none is missed, none comes twice', async (t) => {
  await using gateway = await startGateway();
  await using relay = await startRelay(gateway.url);
  const other = await gateway.another();
  const client = createClient({ url: relay.url, token: () => gateway.admin });
  const total = 400;
  const seen: number[] = [];
  const abort = new AbortController();
  const lost: string[] = [];
  const hears: (() => void)[] = [];
  const events = client.events(
    { subject: 'system/mine' },
    {
      signal: abort.signal,
      lost: ({ code }) => {
        lost.push(code);
        hears.pop()?.();
      },
    },
  );
  const reading = (async () => {
    for await (const event of events) {
      seen.push(Number((event.data as { instance: string }).instance));
      if (seen.length % 50 === 0 && seen.length <= 200) relay.cut();
      if (seen.length === 250) {
        relay.lead(other.url);
        await gateway.stop();
      }
      if (seen.length === total) abort.abort();
    }
  })();
  // The stream has begun, and breaks before anything has come: what happens meanwhile is not missed.
  const metric = async () => (await fetch(`${gateway.url}/metrics`)).text();
  await eventually(async () => /^toka_sse_clients\{[^}]*\} 1$/m.test(await metric()));
  const broken = new Promise<void>((resolve) => void hears.push(resolve));
  relay.cut();
  await broken;
  for (let instance = 0; instance < total; instance++) {
    await append(gateway, instance);
    await append(gateway, instance, 'another');
  }
  await reading;
  t.deepEqual(
    seen,
    Array.from({ length: total }, (_, index) => index),
  );
  t.true(lost.length > 2, `${lost.length} breaks`);
  t.deepEqual([...new Set(lost)], ['unavailable']);
});

test('a stream that says nothing any more is given up and taken up again, before it begins and later', async (t) => {
  const asked: (string | undefined)[] = [];
  const server = createServer(({ headers }, response) => {
    asked.push(headers['last-event-id'] as string | undefined);
    if (asked.length === 1) return;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'toka-seq': '7' }).flushHeaders();
    if (headers['last-event-id'] === '7') response.write('id: 8\ndata: {"id":"evt_1","type":"t","subject":"s"}\n\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close().closeAllConnections());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const lost: string[] = [];
  const events = createEvents({ url }, { silenceMsMax: 500 })({}, { lost: ({ message }) => lost.push(message) });
  t.like((await events.next()).value, { seq: 8, id: 'evt_1' });
  await events.return(undefined);
  t.true(asked.length > 2, 'the first was not answered, the second went silent');
  t.is(asked[0], undefined);
  t.is(asked.at(-1), '7');
  t.deepEqual([...new Set(lost)], ['nothing was heard for 0.5 s']);
});

test('a stream that no waiting mends ends with its Failure', async (t) => {
  await using gateway = await startGateway();
  const client = createClient({ url: gateway.url, token: 'no token' });
  t.is((await failureOf(client.events().next())).code, 'unauthorized');
  const wrong = createClient({ url: gateway.url, token: gateway.admin }).events({ subject: 'nonsense' });
  const failure = await failureOf(wrong.next());
  t.is(failure.code, 'invalid');
  t.is(failure.problems?.[0]?.field, 'subject');
});

test('of a problem or an event without end no more is read than one has, and nobody is told to wait for ever', async (t) => {
  let sent = 0;
  const server = createServer((request, response) => {
    const isStream = request.url?.startsWith('/events');
    const later = { 'retry-after': '9999999' };
    if (isStream) response.writeHead(200, { 'content-type': 'text/event-stream' });
    else response.writeHead(429, later);
    if (request.url === '/status') return response.end();
    const chunk = 'x'.repeat(1024 ** 2);
    const more = () => {
      sent += chunk.length;
      if (response.writable && !response.destroyed) response.write(chunk, more);
    };
    return response.write('data: ', more);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close().closeAllConnections());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createClient({ url, token: 'x', retries: 0 });
  t.is((await failureOf(client.getStatus())).retryAfterMs, 3_600_000);
  t.is((await failureOf(client.getUsage({}, { timeoutMs: 10_000 }))).code, 'limited');
  t.true(sent < 64 * 1024 ** 2, `${sent} bytes of a problem`);
  const signal = AbortSignal.timeout(20_000);
  t.is((await failureOf(client.events({}, { signal }).next())).message, 'the gateway sends an event without end');
});

test('the client needs nothing that a browser has not', async (t) => {
  await using gateway = await startGateway();
  const guard = `import { registerHooks } from 'node:module';
    registerHooks({ resolve(name, context, next) {
      const found = next(name, context);
      if (found.url.startsWith('node:')) throw new Error(name + ' in ' + context.parentURL);
      return found;
    } });`;
  const program = `const { createClient } = await import('./shared/client/client.ts');
    const { each } = await import('./shared/client/each.ts');
    const client = createClient({ url: '${gateway.url}', token: '${gateway.admin}' });
    await client.createAgent({ body: ${JSON.stringify(agentInput())} });
    for await (const agent of each(client.listAgents, {})) console.log(agent.id);
    for await (const { type } of client.events({ since: 0, type: 'toka.agent.*' })) { console.log(type); break; }`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--import', `data:text/javascript,${encodeURIComponent(guard)}`],
    ...['--input-type=module', '--eval', program],
  ]);
  t.is(stdout, 'scout\ntoka.agent.registered.v1\n');
});
