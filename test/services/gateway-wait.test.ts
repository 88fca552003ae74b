import { connect } from 'node:net';
import test from 'ava';
import type { Draft } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { started } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Answer, Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { secondsToWait } from '../../services/gateway/wait.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** Does what a runner would: starts each run that is queued, and ends it. */
async function work({ bus }: Gateway, end: Draft, signal: AbortSignal): Promise<void> {
  for await (const raw of bus.follow({ from: 1, subjects: ['toka.events.decision.*'], signal })) {
    const { type, subject } = JSON.parse(new TextDecoder().decode(raw.bytes));
    if (type !== 'toka.run.queued.v1') continue;
    for (const draft of [started, end]) await bus.append(newEvent(draft, subject, writer));
  }
}

const completed: Draft = { type: 'toka.run.completed.v1', data: { result: 'Hello' } };
const open = async (gateway: Gateway) =>
  (await gateway.call('GET', '/metrics')).text.match(/toka_sse_clients\{.*\} (\d+)/)?.[1];

test('whoever would rather wait is answered with the run as it ended', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  const ask = (prefer: string) => call('POST', '/agents/scout/runs', { input: 'Say hello' }, { prefer });
  const none = await ask('respond-async');
  t.is(none.status, 202);
  t.is(none.headers.get('preference-applied'), null);
  const stop = new AbortController();
  const working = work(gateway, completed, stop.signal);
  const answers: Answer[] = await Promise.all(['wait=20', 'return=minimal, Wait = 20', 'wait=20; x=y'].map(ask));
  for (const { status, json, headers } of answers) {
    t.is(status, 200);
    t.like(json, { status: 'completed', result: 'Hello' });
    t.is(headers.get('preference-applied'), 'wait=20');
    t.is(headers.get('location'), `/runs/${json.id}`);
    t.is(headers.get('toka-seq'), String(json.version));
  }
  await eventually(async () => (await open(gateway)) === '0');
  stop.abort();
  await working;
});

test('a run that takes longer is answered with where it is to be found, and goes on', async (t) => {
  await using gateway = await startGateway({ SSE_CALLER_MAX: '1' });
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  const ask = (prefer: string, headers = {}) =>
    call('POST', '/agents/scout/runs', { input: 'x' }, { prefer, ...headers });
  const beganMs = performance.now();
  const late = await ask('wait=1');
  t.true(performance.now() - beganMs > 950);
  t.is(late.status, 202);
  t.is(late.headers.get('location'), `/runs/${late.json.id}`);
  t.is((await call('GET', `/runs/${late.json.id}`)).json.status, 'queued');

  const waiting = ask('wait=100');
  await eventually(async () => (await open(gateway)) === '1');
  t.is((await ask('wait=100')).status, 202, 'with no place left it is answered at once');
  await gateway.stop();
  t.is((await waiting).status, 202, 'a gateway that stops keeps nobody waiting');
});

test('of Prefer what is understood counts, and the rest is ignored', (t) => {
  for (const [prefer, seconds] of [
    ['', undefined],
    ['respond-async', undefined],
    ['wait=5', 5],
    ['wait="5"', 5],
    ['respond-async, wait=10', 10],
    ['wait=99999', 300],
    ['wait=-1', undefined],
    ['wait=5x', undefined],
    ['await=5', undefined],
    ['wait', undefined],
  ] as const)
    t.is(secondsToWait(prefer), seconds, prefer);
});

test('each caller may have so many streams open, and does not take the places of others', async (t) => {
  await using gateway = await startGateway({ SSE_CALLER_MAX: '2' });
  const abort = new AbortController();
  const stream = async (sub: string) =>
    fetch(`${gateway.url}/events`, {
      headers: { authorization: `Bearer ${await token('events:read', { sub })}` },
      signal: abort.signal,
    });
  t.deepEqual(
    (await Promise.all([stream('ann'), stream('ann')])).map(({ status }) => status),
    [200, 200],
  );
  const third = await stream('ann');
  t.is(third.status, 429);
  t.is(third.headers.get('retry-after'), '5');
  t.like(await third.json(), {
    code: 'limited',
    detail: '2 event streams are open for you, which is as many as may be',
  });
  t.is((await stream('bob')).status, 200);
  abort.abort();
  await eventually(async () => (await open(gateway)) === '0');
});

test('who has left before they could be served keeps no place', async (t) => {
  await using gateway = await startGateway({ SSE_CALLER_MAX: '10' });
  const { call, bus, url, admin } = gateway;
  await call('POST', '/agents', agentInput());
  const leave = (line: string, more: string) => {
    const head = `${line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\n${more}`;
    const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => undefined);
    socket.write(head, () => socket.resetAndDestroy());
  };
  const run = 'Prefer: wait=300\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"input":"x"}';
  for (let time = 0; time < 10; time++) {
    leave('GET /events?type=toka.key.revoked.v1', '\r\n');
    leave('POST /agents/scout/runs', run);
  }
  await eventually(async () => (await bus.lastSeq('toka.events.decision.*')) > 0);
  const abort = new AbortController();
  const open = () => fetch(`${url}/events`, { headers: { authorization: `Bearer ${admin}` }, signal: abort.signal });
  const all = await eventually(async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, open));
    if (answers.every(({ status }) => status === 200)) return answers;
    for (const { body } of answers) await body?.cancel();
    return undefined;
  });
  t.is(all.length, 10);
  abort.abort();
});
