import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'unused' });
const events = { 'content-type': 'text/event-stream' };
const sse = (data: { type?: string; [field: string]: unknown }) =>
  `${data.type ? `event: ${data.type}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
const usage = { input_tokens: 9, output_tokens: 2 };
const streams = {
  '/v1/messages': [
    sse({ type: 'message_start', message: { id: 'm', model: 'one', content: [], usage } }),
    sse({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
    sse({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Yes.' } }),
    sse({ type: 'content_block_stop', index: 0 }),
    sse({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage }),
    sse({ type: 'message_stop' }),
  ].join(''),
  '/v1/responses': [
    sse({ type: 'response.created', response: { id: 'resp_1', model: 'one', status: 'in_progress', error: null } }),
    sse({ type: 'response.output_text.delta', item_id: 'i', output_index: 0, content_index: 0, delta: 'Yes.' }),
    sse({ type: 'response.completed', response: { id: 'resp_1', model: 'one', status: 'completed', usage } }),
  ].join(''),
  '/v1/chat/completions': `${sse({ id: 'c', model: 'one', choices: [{ index: 0, delta: { content: 'Yes.' } }] })}${sse({
    ...{ id: 'c', model: 'one', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
  })}data: [DONE]\n\n`,
} as const;
const asked = {
  '/v1/messages': shortMessages,
  '/v1/responses': { model: 'one', input: 'Hi' },
  '/v1/chat/completions': shortChat,
};

/** Reads until the last event is there, and goes. */
async function leaveAtTheEnd(ask: (signal: AbortSignal) => Promise<Response>, last: string) {
  const gone = new AbortController();
  let heard = '';
  const decoder = new TextDecoder();
  for await (const part of (await ask(gone.signal)).body ?? []) {
    heard += decoder.decode(part, { stream: true });
    if (heard.includes(last)) break;
  }
  gone.abort();
}

const lasts = {
  '/v1/messages': '"message_stop"',
  '/v1/responses': '"response.completed"',
  '/v1/chat/completions': '[DONE]',
};

for (const [wire, path] of [
  ['anthropic', '/v1/messages'],
  ['anthropic', '/v1/chat/completions'],
  ['anthropic', '/v1/responses'],
  ['openai', '/v1/responses'],
  ['openai', '/v1/chat/completions'],
  ['openai', '/v1/messages'],
] as const)
  test(`who goes once it has the last of ${path} from ${wire} has had a whole answer, and the provider keeps its connection`, async (t) => {
    const sockets = new Set<Socket>();
    await using raw = await startRaw(async (incoming, _, response) => {
      sockets.add(incoming.socket);
      const own = wire === 'anthropic' ? '/v1/messages' : (incoming.url as '/v1/responses');
      response.writeHead(200, events).write(streams[own]);
      await delay(50);
      response.write(': the last\n\n');
      await delay(50);
      response.end();
    });
    await using proxy = await startHttpProxy(wire, { script, environment: raw.environment });
    for (let count = 1; count <= 4; count++) {
      const body = { ...asked[path], model: 'one', stream: true };
      await leaveAtTheEnd((signal) => proxy.post(path, body, {}, signal), lasts[path]);
      await proxy.calls(count);
    }
    const calls = await proxy.calls(4);
    t.deepEqual([...new Set(calls.map(({ data }) => data.outcome))], ['ok']);
    t.is(sockets.size, 1, 'one connection for all');
  });

test('a provider that has more to say after its end is not listened to for long', async (t) => {
  let closed = 0;
  let more = (_: (text: string) => void) => {};
  await using raw = await startRaw((_, __, response) => {
    response.writeHead(200, events).write(streams['/v1/messages']);
    response.once('close', () => closed++);
    more((text) => void response.write(text));
  });
  await using proxy = await startHttpProxy('anthropic', { script, environment: raw.environment });
  const body = { ...shortMessages, stream: true };
  const beganMs = performance.now();
  await leaveAtTheEnd((signal) => proxy.post('/v1/messages', body, {}, signal), '"message_stop"');
  await proxy.calls(1);
  const tookMs = performance.now() - beganMs;
  t.true(tookMs > 1_900 && tookMs < 4_000, `it stays open for ${tookMs} ms`);
  more = async (write) => {
    await delay(200);
    write(`: ${'x'.repeat(100_000)}\n\n`);
  };
  const againMs = performance.now();
  await leaveAtTheEnd((signal) => proxy.post('/v1/messages', body, {}, signal), '"message_stop"');
  const [, second] = await proxy.calls(2);
  t.true(performance.now() - againMs < 1_500, 'it says too much');
  t.is(second?.data.outcome, 'ok');
  await eventually(() => closed === 2);
});

test('a redirect that keeps the request is followed to the same place alone, and not for ever', async (t) => {
  const seen: { url: string | undefined; body: string }[] = [];
  let location = (_url: string) => '/v1/moved';
  let status = 307;
  await using raw = await startRaw((incoming, body, response) => {
    const { url = '' } = incoming;
    seen.push({ url, body });
    if (url.endsWith('/moved')) return void response.writeHead(200, events).end(streams['/v1/messages']);
    response.writeHead(status, { location: location(url) }).end('elsewhere');
  });
  let strangers = 0;
  await using stranger = await startRaw((_, __, response) => {
    strangers++;
    response.end();
  });
  await using proxy = await startHttpProxy('anthropic', { script, environment: raw.environment });
  for (status of [307, 308]) {
    const text = await (await proxy.post('/v1/messages', { ...shortMessages, stream: true })).text();
    t.is(text, streams['/v1/messages']);
  }
  t.deepEqual(
    seen.map(({ url }) => url),
    ['/v1/messages', '/v1/moved', '/v1/messages', '/v1/moved'],
  );
  t.is(new Set(seen.map(({ body }) => body)).size, 1, 'with its body');
  for (const [to, requests] of [
    [`${stranger.environment.ANTHROPIC_BASE_URL}/v1/moved`, 1],
    ['http://[', 1],
    ['/v1/messages', 4],
  ] as const) {
    seen.length = 0;
    location = () => to;
    const answer = await proxy.post('/v1/messages', shortMessages);
    t.is(answer.status, 502, to);
    t.regex(await answer.text(), /answered 308: it sends the request to another address; check ANTHROPIC_BASE_URL/);
    t.is(answer.headers.get('location'), null);
    t.is(seen.length, requests);
  }
  status = 302;
  location = () => '/v1/moved';
  t.is((await proxy.post('/v1/messages', shortMessages)).status, 502);
  t.is(strangers, 0);
});

test('what is torn by Toka itself in the middle is told as an error', async (t) => {
  await using raw = await startRaw((_, __, response) => {
    response.writeHead(200, events).write(streams['/v1/messages'].split('event: content_block_stop')[0]);
  });
  await using proxy = await startHttpProxy('anthropic', {
    script,
    environment: { ...raw.environment, LLM_TIMEOUT: '1' },
  });
  await t.throwsAsync(proxy.claude.messages.stream(shortMessages).finalMessage(), {
    instanceOf: Anthropic.APIError,
    message: /timeout_error/,
  });
});
