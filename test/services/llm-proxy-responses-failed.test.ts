import test from 'ava';
import OpenAI from 'openai';
import { responsesBody, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { createSseParser } from '../../services/llm-proxy/wires/sse.ts';

const script = () => ({ text: 'unused' });
const eventStream = { 'content-type': 'text/event-stream' };
const event = (data: { type: string; [field: string]: unknown }) =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const response = {
  id: 'resp_7',
  object: 'response',
  status: 'in_progress',
  model: 'r',
  output: [],
  error: null,
  tools: [],
};
const begun = [
  event({ type: 'response.created', sequence_number: 0, response }),
  event({ type: 'response.in_progress', sequence_number: 1, response }),
  event({
    type: 'response.output_text.delta',
    sequence_number: 12,
    delta: 'say \\"sequence_number\\":99',
    item_id: 'msg_1',
  }),
].join('');
const claude = (more: string) =>
  event({ type: 'message_start', message: { id: 'msg_1', model: 'c', usage: { input_tokens: 3, output_tokens: 1 } } }) +
  event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'Hi.' } }) +
  more;
const overloaded = event({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });

async function streamOf(wire: 'openai' | 'anthropic', text: string, end: 'end' | 'destroy') {
  await using raw = await startRaw((_, __, reply) => {
    reply.writeHead(200, eventStream);
    reply.write(text, () => setTimeout(() => reply[end](), 20));
  });
  await using proxy = await startHttpProxy(wire, { script, environment: raw.environment });
  const answer = await proxy.post('/v1/responses', { ...responsesBody, stream: true });
  const events = createSseParser()
    .push(Buffer.from(await answer.text()))
    .map(({ data }): Record<string, unknown> => JSON.parse(data));
  let error: unknown;
  try {
    for await (const _ of await proxy.openai.responses.create({ ...responsesBody, stream: true }));
  } catch (thrown) {
    error = thrown;
  }
  return { events, error };
}

for (const end of ['end', 'destroy'] as const) {
  test(`a response that passes and breaks off (${end}) ends with response.failed, numbered and with what had begun`, async (t) => {
    const { events, error } = await streamOf('openai', begun, end);
    t.deepEqual(events.map(({ type }) => type).slice(3), ['error', 'response.failed']);
    t.like(events.at(-2), { sequence_number: 13, code: 'upstream', param: null });
    const last = events.at(-1);
    t.like(last, { sequence_number: 14, response: { ...response, status: 'failed', error: { code: 'server_error' } } });
    t.regex(JSON.stringify(last?.response), /cut off/);
    t.true(error instanceof OpenAI.APIError);
  });
}

for (const [how, more] of [
  ['an error of the provider', overloaded],
  ['its end', ''],
] as const) {
  test(`a response that is translated and ends by ${how} ends with response.failed, numbered`, async (t) => {
    const { events, error } = await streamOf('anthropic', claude(more), 'end');
    t.deepEqual(
      events.map(({ sequence_number }) => sequence_number),
      events.map((_, index) => index),
    );
    t.deepEqual(events.map(({ type }) => type).slice(-2), ['error', 'response.failed']);
    t.like(events.at(-1), {
      response: { id: 'resp_1', object: 'response', status: 'failed', error: { code: 'server_error' } },
    });
    t.regex(JSON.stringify(events.at(-1)), more ? /Overloaded/ : /cut off/);
    t.true(error instanceof OpenAI.APIError);
  });
}
