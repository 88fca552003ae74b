import test from 'ava';
import { shortChat, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { chatMarks, createTally, failureOf } from '../../services/llm-proxy/upstreams/stream-watch.ts';

const said = 'data: {"choices":[{"index":0,"delta":{"content":"error: it said"}}]}\n\n';
/** How servers that speak OpenAI's chat alike tell an error in a stream, and what it is. */
const errors: [name: string, text: string, code: string, says: RegExp][] = [
  [
    'older llama.cpp',
    'error: {"code":503,"message":"Loading model","type":"unavailable_error"}\n\n',
    'unavailable',
    /Loading/,
  ],
  [
    'older vLLM',
    'data: {"object":"error","message":"no such thing","type":"BadRequestError","code":400}\n\n',
    'upstream',
    /no such/,
  ],
  ['OpenRouter', 'data: {"error":{"code":429,"message":"too many"},"choices":[]}\n\n', 'limited', /too many/],
  ['a text', 'data: {"error":"it fell over"}\n\n', 'upstream', /fell over/],
  [
    'an event of this name',
    'event: error\ndata: {"message":"by its name","code":529}\n\n',
    'unavailable',
    /by its name/,
  ],
];

for (const [name, text, code, says] of errors)
  test(`an error as ${name} tells it passes as it is, and is no answer that was cut off`, async (t) => {
    // Lines of one event may come apart.
    const at = text.indexOf('\n') + 1;
    await using raw = await startRaw((_, __, response) => {
      response.setHeader('content-type', 'text/event-stream');
      response.write(said);
      setTimeout(() => response.write(text.slice(0, at)), 20);
      setTimeout(() => response.end(text.slice(at)), 40);
    });
    await using proxy = await startHttpProxy('openai', { script: () => ({ text: '' }), environment: raw.environment });
    const answer = await proxy.post('/v1/chat/completions', { ...shortChat, stream: true });
    t.is(await answer.text(), said + text);
    const [call] = await proxy.calls(1);
    t.is(call?.data.outcome, code);
    const tally = createTally(chatMarks, false);
    for (const part of [said, text.slice(0, at), text.slice(at)]) tally.push(Buffer.from(part));
    t.regex(failureOf(tally.told)?.message ?? '', says);
  });

test('what a model says of errors is none, and an event with a longer name is not read as one', (t) => {
  const tally = createTally(chatMarks, false);
  tally.push(Buffer.from(`event: errors\ndata: {"message":"fine"}\n\n${said}`));
  t.is(tally.told.failure, undefined);
});
