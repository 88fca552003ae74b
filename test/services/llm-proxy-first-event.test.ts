import { setTimeout as delay } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import OpenAI from 'openai';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { endpointEntry, modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const events = { 'content-type': 'text/event-stream' };
const script = () => ({ text: 'unused' });
const sse = (data: { type?: string; [field: string]: unknown }) =>
  `${data.type ? `event: ${data.type}\n` : ''}data: ${JSON.stringify(data)}\n\n`;

const start = sse({
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'one',
    usage: { input_tokens: 9, output_tokens: 1 },
  },
});
const ping = sse({ type: 'ping' });
const block = sse({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
const overloaded = sse({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });
const role = sse({ id: 'c', model: 'one', choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] });
const failed = sse({ error: { type: 'server_error', code: null, message: 'The server is busy' } });
const created = sse({
  type: 'response.created',
  response: { id: 'resp_1', model: 'one', status: 'in_progress', error: null },
});
const responseFailed = sse({
  type: 'response.failed',
  response: { id: 'resp_1', status: 'failed', error: { code: 'server_error', message: 'The server is busy' } },
});
const beginnings = {
  anthropic: ['', start, start + ping + block].map((before) => before + overloaded),
  openai: ['', role].map((before) => before + failed),
};

/** Model "one" of this wire, whose provider answers streams with these bytes, falls back to "two" at another that answers well. */
async function setUp(wire: 'anthropic' | 'openai', pieces: () => readonly string[], more: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  let asked = 0;
  const raw = stack.use(
    await startRaw(async (_, __, response) => {
      asked++;
      response.writeHead(200, events);
      for (const piece of pieces()) {
        response.write(piece);
        await delay(20);
      }
      response.end();
    }),
  );
  const other = stack.use(await startFakeProvider({ script: () => ({ text: 'Yes, I can.' }) }));
  const folder = stack.use(await temporaryFolder()).path;
  const far = endpointEntry('far', '', other.openAiUrl);
  const text = `${far}${modelEntry('one', wire, 'fallbacks = ["two"]')}${modelEntry('two', 'openai', 'endpoints = ["far"]')}`;
  const environment = { ...raw.environment, MODELS_FILE: await modelsFileIn(folder, text), ...more };
  const proxy = stack.use(await startHttpProxy(wire, { script, environment }));
  const owned = stack.move();
  return { proxy, asked: () => asked, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

for (const wire of ['anthropic', 'openai'] as const)
  test(`an error of ${wire} before anything is said in a stream is tried elsewhere, for clients of each wire`, async (t) => {
    let pieces: string[] = [];
    await using system = await setUp(wire, () => pieces);
    const { proxy, asked } = system;
    for (const [count, beginning] of beginnings[wire].entries()) {
      pieces = [beginning];
      const chat = await proxy.post('/v1/chat/completions', { ...shortChat, model: 'one', stream: true });
      t.is(chat.status, 200);
      t.regex(await chat.text(), /"content":"Yes, [\s\S]*\[DONE\]/);
      const stream = proxy.claude.messages.stream({ ...shortMessages, model: 'one' });
      t.is(await stream.finalText(), 'Yes, I can.');
      t.is(asked(), 2 * (count + 1), 'it was asked each time');
    }
    t.true((await proxy.calls(4)).every(({ data }) => data.outcome === 'ok' && data.requestModel === 'two'));
  });

test('where nobody else answers, the error comes with the status that its words stand for, in the words of the wire', async (t) => {
  let pieces: string[] = [start, overloaded];
  await using raw = await startRaw((_, __, response) => {
    response.writeHead(200, { ...events, 'request-id': 'req_p' }).end(pieces.join(''));
  });
  await using claude = await startHttpProxy('anthropic', { script, environment: raw.environment });
  const thrown = await t.throwsAsync(claude.claude.messages.stream(shortMessages).finalMessage(), {
    instanceOf: Anthropic.OverloadedError,
  });
  t.is(thrown?.requestID, 'req_p');
  const same = await claude.post('/v1/messages', { ...shortMessages, stream: true });
  t.is(same.status, 529);
  t.deepEqual(await same.json(), { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });
  t.is((await claude.post('/v1/chat/completions', { ...shortChat, stream: true })).status, 529);
  await using openai = await startHttpProxy('openai', { script, environment: raw.environment });
  pieces = [role, failed];
  await t.throwsAsync(openai.openai.chat.completions.create({ ...shortChat, stream: true }), {
    instanceOf: OpenAI.InternalServerError,
    message: /500 The server is busy/,
  });
  pieces = [created, responseFailed];
  const response = await openai.post('/v1/responses', { model: 'one', input: 'Hi', stream: true });
  t.is(response.status, 500);
  t.like(await response.json(), { error: { message: 'The server is busy', code: 'server_error' } });
});

test('once something is said an error is passed on, with all that came before it', async (t) => {
  const delta = sse({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Well' } });
  const pieces = [start, ping, block, delta, overloaded];
  await using system = await setUp('anthropic', () => pieces);
  const answer = await system.proxy.post('/v1/messages', { ...shortMessages, model: 'one', stream: true });
  t.is(await answer.text(), pieces.join(''), 'as it came');
  t.is(system.asked(), 1);
});

test('a stream that says nothing for a while, or very much, is passed on as it comes', async (t) => {
  let pieces = [start, ...Array.from({ length: 190 }, () => ping), overloaded];
  await using system = await setUp('anthropic', () => pieces);
  const ask = () => system.proxy.post('/v1/messages', { ...shortMessages, model: 'one', stream: true });
  const beganMs = performance.now();
  const slow = await ask();
  const waitedMs = performance.now() - beganMs;
  t.true(waitedMs > 2_900 && waitedMs < 3_800, `${waitedMs} ms`);
  t.is(await slow.text(), pieces.join(''));
  pieces = [start, `: ${'x'.repeat(300_000)}\n\n`, overloaded];
  t.is(await (await ask()).text(), pieces.join(''));
});

test('an answer that is empty goes out as it came', async (t) => {
  const end = sse({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } });
  const pieces = [start, end, sse({ type: 'message_stop' })];
  await using system = await setUp('anthropic', () => pieces);
  const answer = await system.proxy.post('/v1/messages', { ...shortMessages, model: 'one', stream: true });
  t.is(await answer.text(), pieces.join(''));
});
