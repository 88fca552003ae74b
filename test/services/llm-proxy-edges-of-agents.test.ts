import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import test from 'ava';
import { startProxySystem } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'unused' });
const sse = (data: object) => `data: ${JSON.stringify(data)}\n\n`;
const head = { id: 'c', model: 'm' };
const said = sse({ ...head, choices: [{ index: 0, delta: { content: 'Yes.' } }] });
const stream = `${said}${sse({ ...head, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}data: [DONE]\n\n`;
const packers = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync };

test("calls of agents read a provider's answer however it is packed, called or moved", async (t) => {
  let reply = { status: 200, body: stream, headers: {} as Record<string, string>, isMoved: false };
  await using raw = await startRaw(({ url }, _, response) => {
    const { status, body, headers, isMoved } = reply;
    if (isMoved && url !== '/v1/moved') return void response.writeHead(308, { location: '/v1/moved' }).end();
    const pack = packers[headers['content-encoding'] as keyof typeof packers] ?? Buffer.from;
    response.writeHead(status, headers).end(pack(Buffer.from(body)));
  });
  await using proxy = await startProxySystem('openai', { script, environment: raw.environment });
  for (const encoding of [...Object.keys(packers), ''])
    for (const type of ['text/event-stream', 'text/plain', 'application/json', '']) {
      const headers = { ...(type && { 'content-type': type }), ...(encoding && { 'content-encoding': encoding }) };
      reply = { ...reply, headers };
      t.is((await proxy.ask()).answer.text, 'Yes.', `${encoding} ${type}`);
    }
  reply = { ...reply, headers: { 'content-type': 'text/event-stream' }, isMoved: true };
  t.is((await proxy.ask()).answer.text, 'Yes.');
  const slow = '{"error":{"message":"slow down","type":"t"}}';
  const packed = { 'content-type': 'application/json', 'content-encoding': 'zstd' };
  reply = { status: 429, body: slow, headers: packed, isMoved: false };
  await t.throwsAsync(proxy.ask({ model: 'another' }), { code: 'limited', message: /slow down/ });
});

test('an error before anything is said in a stream is tried again for an agent', async (t) => {
  let asked = 0;
  const failed = sse({ error: { message: 'busy', type: 'server_error' } });
  const role = sse({ ...head, choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] });
  await using raw = await startRaw((_, __, response) => {
    asked++;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(asked === 1 ? failed : asked === 2 ? role + failed : stream);
  });
  const environment = { ...raw.environment, LLM_RETRIES: '2' };
  await using proxy = await startProxySystem('openai', { script, environment });
  t.is((await proxy.ask()).answer.text, 'Yes.');
  t.is(asked, 3);
});
