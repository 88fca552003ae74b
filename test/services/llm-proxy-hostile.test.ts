import { gzipSync } from 'node:zlib';
import test from 'ava';
import { isLlmEvent } from '#shared/contracts/events.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startProxySystem, wires } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'unused' });
const sse = (data: { type?: string; [field: string]: unknown }) =>
  `${data.type ? `event: ${data.type}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
const mebibyte = Buffer.alloc(1_048_576, 'x');

for (const wire of wires)
  test(`of an error that does not end, an agent's call reads the beginning only: ${wire}`, async (t) => {
    let isPacked = false;
    let sent = 0;
    await using raw = await startRaw((_, __, response) => {
      const packed = isPacked ? { 'content-encoding': 'gzip' } : {};
      response.writeHead(500, { 'content-type': 'application/json', ...packed });
      if (isPacked) return void response.end(gzipSync(Buffer.alloc(200 * mebibyte.length)));
      const more = () => {
        if (response.destroyed || sent === 200) return void response.end();
        sent++;
        response.write(mebibyte, more);
      };
      more();
    });
    await using proxy = await startProxySystem(wire, { script, environment: raw.environment });
    for (isPacked of [false, true]) {
      const beganMs = performance.now();
      await t.throwsAsync(proxy.ask(), { code: 'unavailable', message: /answered 500/ });
      t.true(performance.now() - beganMs < 10_000);
    }
    t.true(sent < 100, `${sent} MiB`);
  });

const start = sse({
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'one',
    usage: { input_tokens: 900, output_tokens: 1 },
  },
});
const block = sse({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
const delta = sse({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'x'.repeat(300) } });
const overloaded = sse({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });

test('a stream that fails once it has said something may have cost, and one that has said nothing has not', async (t) => {
  let pieces = [start, block, delta, overloaded];
  await using raw = await startRaw((_, __, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(pieces.join(''));
  });
  await using proxy = await startHttpProxy('anthropic', { script, environment: raw.environment });
  const translated = { ...shortChat, stream: true };
  const ask = async () => {
    await (await proxy.post('/v1/messages', { ...shortMessages, stream: true })).text();
    await (await proxy.post('/v1/chat/completions', translated)).text();
    await t.throwsAsync(proxy.ask(), { code: 'unavailable' });
  };
  await ask();
  pieces = [start, block, overloaded];
  await ask();
  const agents = (await proxy.bus.read('llm', 'internal')).filter(isLlmEvent);
  const told = [...(await proxy.calls(4)), ...agents].map(({ data }) => [data.costUsd === 0, data.usage.outputTokens]);
  const [mayHaveCost, isFree] = [
    [false, 100],
    [true, 1],
  ];
  t.deepEqual(told, [mayHaveCost, mayHaveCost, isFree, isFree, mayHaveCost, isFree]);
});

test('that no more tokens can be counted now keeps nobody from the model', async (t) => {
  const said = sse({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } });
  await using raw = await startRaw(({ url }, _, response) => {
    if (!url?.endsWith('/count_tokens'))
      return void response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .end([start, block, delta, said, sse({ type: 'message_stop' })].join(''));
    const error = { type: 'error', error: { type: 'rate_limit_error', message: 'slow down' } };
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '60' }).end(JSON.stringify(error));
  });
  await using proxy = await startHttpProxy('anthropic', { script, environment: raw.environment });
  const { max_tokens: _, ...counted } = shortMessages;
  t.is((await proxy.post('/v1/messages/count_tokens', counted)).status, 429);
  const answer = await proxy.post('/v1/messages', { ...shortMessages, stream: true });
  t.is(answer.status, 200, await answer.text());
  t.is((await proxy.ask({ model: shortMessages.model })).answer.text.length, 300);
});

test('a model that calls itself by a name without end is in the ledger all the same', async (t) => {
  const model = 'm'.repeat(2_000_000);
  const ended = sse({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } });
  const named = start.replace('"one"', JSON.stringify(model));
  const pieces = [named, block, delta, ended, sse({ type: 'message_stop' })];
  const usage = { input_tokens: 1, output_tokens: 1 };
  const content = [{ type: 'text', text: 'Hi' }];
  const whole = { id: 'm', type: 'message', role: 'assistant', model, content, stop_reason: 'end_turn', usage };
  await using raw = await startRaw((_, body, response) => {
    if (!JSON.parse(body).stream)
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(whole));
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(pieces.join(''));
  });
  await using proxy = await startHttpProxy('anthropic', { script, environment: raw.environment });
  for (const stream of [true, false]) {
    await (await proxy.post('/v1/messages', { ...shortMessages, stream })).text();
    await (await proxy.post('/v1/chat/completions', { ...shortChat, stream })).text();
  }
  t.is((await proxy.ask()).facts.model.length, 200);
  const agents = (await proxy.bus.read('llm', 'internal')).filter(isLlmEvent);
  for (const { data } of [...(await proxy.calls(4)), ...agents]) t.is(data.model.length, 200);
  t.is(agents.length, 1);
});

const chunk = (delta: object, finish_reason: string | null = null) =>
  sse({ id: 'c', model: 'one', choices: [{ index: 0, delta, finish_reason }] });

test('an answer that the bus cannot carry, and one too deep to be written again, are faults of the provider', async (t) => {
  const deep = '['.repeat(200_000) + ']'.repeat(200_000);
  const call = `{"id":"1","function":{"name":"look","arguments":${deep}}}`;
  const whole = `{"id":"c","model":"one","choices":[{"index":0,"message":{"tool_calls":[${call}]},"finish_reason":"stop"}]}`;
  let letter = '\u0000';
  await using raw = await startRaw((_, body, response) => {
    if (!JSON.parse(body).stream)
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(whole);
    const piece = chunk({ content: letter.repeat(30_000) });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`${piece.repeat(100)}${chunk({}, 'stop')}data: [DONE]\n\n`);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  for (letter of ['\u0000', '語'])
    await t.throwsAsync(proxy.ask(), { code: 'upstream', message: /longer than 7000000 bytes/ });
  const answer = await proxy.post('/v1/messages', shortMessages);
  t.is(answer.status, 502);
  t.regex(await answer.text(), /the answer of OpenAI cannot be read/);
});

test('a number that is not as JavaScript writes it is no object', async (t) => {
  await using proxy = await startHttpProxy('openai', { script });
  const ask = async (messages: string, tools: string) => {
    const answer = await proxy.post(
      '/v1/messages',
      `{"model":"one","max_tokens":9,"messages":${messages},"tools":${tools}}`,
    );
    t.is(answer.status, 400);
    return answer.text();
  };
  const called =
    '[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":1.0}]}]';
  t.regex(await ask(called, '[]'), /messages\.1\.content\.0\.input: .*expected record, received number/);
  t.regex(
    await ask('[{"role":"user","content":"Hi"}]', '[{"name":"b","input_schema":1.0}]'),
    /tools\.0\.input_schema: /,
  );
});
