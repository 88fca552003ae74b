import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { shortChat, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'unused' });
const events = { 'content-type': 'text/event-stream' };

test('a client that leaves closes the connection to the provider', async (t) => {
  const closed = Promise.withResolvers<void>();
  await using raw = await startRaw((_, __, response) => {
    response.writeHead(200, events).write('data: {"choices":[{"delta":{"content":"x"}}]}\n\n');
    response.once('close', closed.resolve);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const leave = new AbortController();
  const answer = await proxy.post('/v1/chat/completions', { ...shortChat, stream: true }, {}, leave.signal);
  await answer.body?.getReader().read();
  leave.abort();
  await closed.promise;
  t.is((await proxy.calls(1))[0]?.data.outcome, 'cancelled');
});

test('a stream that comes byte by byte passes unchanged but for the chunk that has only the usage', async (t) => {
  const head = 'data: {"model":"m-1","choices":[{"delta":{"content":"ü \\"usage\\":{"}}],"usage":null}\r\n\r\n';
  const last = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}\r\n\r\n';
  const usage = 'data: {"model":"m-1","choices":[],"usage": {"prompt_tokens":7,"completion_tokens":2}}\r\n\r\n';
  await using raw = await startRaw(async (_, __, response) => {
    response.writeHead(200, events);
    for (const byte of Buffer.from(`${head}${last}${usage}data: [DONE]\r\n\r\n`)) {
      response.write(Buffer.of(byte));
      await turn();
    }
    response.end();
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const answer = await proxy.post('/v1/chat/completions', { ...shortChat, stream: true });
  // The empty line behind the hidden chunk may stay: it says nothing.
  t.is((await answer.text()).replace('\r\n\r\n\r\n', '\r\n\r\n'), `${head}${last}data: [DONE]\r\n\r\n`);
  const [called] = await proxy.calls(1);
  t.like(called?.data, { model: 'm-1', outcome: 'ok' });
  t.like(called?.data.usage, { inputTokens: 7, outputTokens: 2 });
});

test('a slow client holds the provider back, and gets everything', async (t) => {
  const line = `data: {"choices":[{"delta":{"content":"${'x'.repeat(16_000)}"}}]}\n\n`;
  const lines = 4_000;
  let written = 0;
  await using raw = await startRaw(async (_, __, response) => {
    response.writeHead(200, events);
    for (; written < lines; written++) {
      if (!response.write(line)) await new Promise((resolve) => response.once('drain', resolve));
    }
    response.end('data: [DONE]\n\n');
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const answer = await proxy.post('/v1/chat/completions', { ...shortChat, stream: true });
  const reader = answer.body?.getReader();
  let bytes = (await reader?.read())?.value?.length ?? 0;
  for (let seen = -1; seen !== written; await new Promise((resolve) => setTimeout(resolve, 200))) seen = written;
  t.true(written < lines / 2, `the provider could write ${written} of ${lines} lines`);
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) bytes += part.value.length;
  t.is(bytes, line.length * lines + 'data: [DONE]\n\n'.length);
});

test('responses and embeddings pass as they are, with fields that we do not know', async (t) => {
  const paths: (string | undefined)[] = [];
  const bodies: string[] = [];
  const done =
    'event: response.completed\ndata: {"type":"response.completed","response":{"status":"completed","model":"r","error":null,"usage":{"input_tokens":5,"output_tokens":1,"input_tokens_details":{"cached_tokens":0}}}}\n\n';
  await using raw = await startRaw((incoming, body, response) => {
    paths.push(incoming.url);
    bodies.push(body);
    if (incoming.url === '/v1/responses') return void response.writeHead(200, events).end(done);
    response.setHeader('content-type', 'application/json');
    response.end(
      '{"data":[{"embedding":"AAAA"}],"model":"e","usage":{"prompt_tokens":3,"total_tokens":3},"newer":[1]}',
    );
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const asked = [
    '{"model":"r", "stream":true,"max_output_tokens":50,"newer":1.0}',
    '{ "input":"x","model":"e","newer":1e2}',
  ];
  t.is(await (await proxy.post('/v1/responses', asked[0])).text(), done);
  t.deepEqual(await (await proxy.post('/v1/embeddings', asked[1])).json(), {
    data: [{ embedding: 'AAAA' }],
    model: 'e',
    usage: { prompt_tokens: 3, total_tokens: 3 },
    newer: [1],
  });
  t.deepEqual(paths, ['/v1/responses', '/v1/embeddings']);
  t.deepEqual(bodies, asked, 'byte by byte');
  t.deepEqual(
    (await proxy.calls(2)).map(({ data }) => [data.outcome, data.usage.inputTokens]),
    [
      ['ok', 5],
      ['ok', 3],
    ],
  );
});
