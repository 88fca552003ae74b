import { request } from 'node:http';
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import OpenAI from 'openai';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'Yes.' });
const quick = { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } };
const br = (text: Buffer) => brotliCompressSync(text, quick);
const packers = { gzip: gzipSync, deflate: deflateSync, br, zstd: zstdCompressSync };
const whole =
  '{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"content":"Yes."}}],"usage":null}';
const stream =
  'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Yes."}}]}\n\ndata: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

type Sent = { status: number; text: string; headers: Record<string, string | string[] | undefined> };

/** Sends bytes that are named as they are named. */
const send = (url: string, secret: string, body: Buffer, headers: Record<string, string>, isChunked = false) =>
  new Promise<Sent>((resolve, reject) => {
    const length = isChunked ? {} : { 'content-length': String(body.length) };
    const all = { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...length, ...headers };
    const sending = request(url, { method: 'POST', headers: all }, async (incoming) => {
      let text = '';
      for await (const part of incoming) text += part;
      resolve({ status: incoming.statusCode ?? 0, text, headers: incoming.headers });
      sending.destroy();
    });
    sending.on('error', reject).end(body);
  });

test('a request that is compressed is read, and goes on as it is', async (t) => {
  const bodies: string[] = [];
  const encodings: (string | undefined)[] = [];
  await using raw = await startRaw((incoming, body, response) => {
    bodies.push(body);
    encodings.push(incoming.headers['content-encoding']);
    response.setHeader('content-type', 'application/json').end(whole);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const { key, url } = proxy;
  const text = JSON.stringify({ ...shortChat, max_tokens: 9 });
  const packed = Object.entries({ ...packers, 'x-gzip': gzipSync, GZIP: gzipSync });
  const all = [...packed, ['deflate', deflateRawSync], ['identity', Buffer.from]] as const;
  for (const [encoding, pack] of all)
    for (const isChunked of [false, true]) {
      const headers = { 'content-encoding': encoding };
      const answer = await send(`${url}/v1/chat/completions`, key.secret, pack(Buffer.from(text)), headers, isChunked);
      t.is(answer.status, 200, `${encoding}: ${answer.text}`);
    }
  t.deepEqual([...new Set(bodies)], [text]);
  t.deepEqual([...new Set(encodings)], [undefined]);
});

test('an encoding that we have not is refused with those that we have, in the words of the wire', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const { key, url } = proxy;
  for (const encoding of ['foo', 'gzip, br', 'compress']) {
    const body = Buffer.from(JSON.stringify(shortMessages));
    const answer = await send(`${url}/v1/messages`, key.secret, body, { 'content-encoding': encoding });
    t.is(answer.status, 415);
    t.is(answer.headers['accept-encoding'], 'gzip, deflate, br, zstd');
    t.regex(answer.text, /"type":"error".*gzip, deflate, br, zstd/);
  }
  for (const encoding of Object.keys(packers)) {
    const answer = await send(`${url}/v1/messages`, key.secret, Buffer.from('{"model"'), {
      'content-encoding': encoding,
    });
    t.is(answer.status, 400, encoding);
    t.regex(answer.text, /the body is not what its Content-Encoding says/);
  }
  t.is(proxy.fake.requests.length, 0);
});

test('a small body that would become a large one is refused before it has, and leaves no memory taken', async (t) => {
  await using proxy = await startHttpProxy('openai', { script, environment: { LLM_REQUESTS_MEMORY: '160' } });
  const { key, url } = proxy;
  const large = Buffer.alloc(200 * 1_024 * 1_024, 32);
  for (const [encoding, pack] of Object.entries(packers)) {
    const packed = pack(large);
    const beganMs = performance.now();
    const answer = await send(`${url}/v1/chat/completions`, key.secret, packed, { 'content-encoding': encoding });
    t.is(answer.status, 413, encoding);
    t.true(performance.now() - beganMs < 10_000);
  }
  t.is(
    await eventually(async () => ((await proxy.metric('llm_requests_memory_bytes{')) === 0 ? 'none' : undefined)),
    'none',
  );
  const body = Buffer.from(JSON.stringify(shortChat));
  t.is((await send(`${url}/v1/chat/completions`, key.secret, body, {})).status, 200, 'it goes on');
});

test('a frame that asks for a large window is refused', async (t) => {
  await using proxy = await startHttpProxy('openai', { script });
  // A frame of one empty block, whose window is of 128 MiB.
  const frame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00]);
  const headers = { 'content-encoding': 'zstd' };
  const answer = await send(`${proxy.url}/v1/chat/completions`, proxy.key.secret, frame, headers);
  t.is(answer.status, 400);
  t.regex(answer.text, /memory|window/i);
});

test('an answer that is compressed although that was not asked for is read: whole, streamed, and of an error', async (t) => {
  let [body, status, type, encoding] = [whole, 200, 'application/json', 'gzip'];
  await using raw = await startRaw((_, __, response) => {
    const pack = packers[encoding as keyof typeof packers] ?? Buffer.from;
    response.writeHead(status, { 'content-type': type, 'content-encoding': encoding }).end(pack(Buffer.from(body)));
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  for (encoding of Object.keys(packers)) {
    [body, status, type] = [whole, 200, 'application/json'];
    const answer = await proxy.post('/v1/chat/completions', shortChat);
    t.is(await answer.text(), whole, encoding);
    t.is(answer.headers.get('content-encoding'), null);
    t.is((await proxy.claude.messages.create(shortMessages)).content[0]?.type, 'text');
    [body, type] = [stream, 'text/event-stream'];
    t.is(
      await (await proxy.post('/v1/chat/completions', { ...shortChat, stream: true })).text(),
      stream.replace(/,"usage.*?}/, ''),
    );
    t.is(await proxy.claude.messages.stream(shortMessages).finalText(), 'Yes.');
    [body, status, type] = ['{"error":{"message":"slow down","type":"t"}}', 429, 'application/json'];
    const error = await t.throwsAsync(proxy.openai.chat.completions.create({ ...shortChat, model: encoding }), {
      instanceOf: OpenAI.RateLimitError,
    });
    t.regex(error?.message ?? '', /slow down/);
  }
  encoding = 'foo';
  await t.throwsAsync(proxy.openai.chat.completions.create(shortChat), { instanceOf: OpenAI.RateLimitError });
  status = 200;
  t.is((await proxy.post('/v1/chat/completions', shortChat)).status, 502);
});

test('an answer that becomes very large is no answer', async (t) => {
  const packed = gzipSync(Buffer.alloc(300 * 1_024 * 1_024, 32));
  await using raw = await startRaw((_, __, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(packed);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const answer = await proxy.post('/v1/chat/completions', shortChat);
  t.is(answer.status, 502);
  t.regex(await answer.text(), /longer than/);
  t.is((await proxy.post('/v1/chat/completions', shortChat)).status, 502, 'it goes on');
});

test('a stream is one whatever it is called, and an answer that is none is not', async (t) => {
  let [type, body]: [string | undefined, string] = [undefined, stream];
  let asked = 0;
  await using raw = await startRaw((_, __, response) => {
    asked++;
    response.writeHead(200, type === undefined ? {} : { 'content-type': type }).end(body);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  for (type of [undefined, 'text/plain', 'text/plain; charset=utf-8', 'application/json', 'application/octet-stream'])
    for (body of [stream, `: hello\n\n${stream}`, `\n\n${stream}`, `\ufeff${stream}`]) {
      const answer = await proxy.post('/v1/chat/completions', { ...shortChat, stream: true });
      t.is(answer.headers.get('content-type'), 'text/event-stream');
      t.true((await answer.text()).endsWith('data: [DONE]\n\n'));
      t.is(await proxy.claude.messages.stream(shortMessages).finalText(), 'Yes.', JSON.stringify([type, body]));
    }
  t.is(asked, 40, 'once each');
  [type, body] = ['text/html', '<html>data: </html>'];
  t.is((await proxy.post('/v1/chat/completions', { ...shortChat, stream: true })).status, 502);
});
