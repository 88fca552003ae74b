import test from 'ava';
import { messagesBody, model, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'unused' });
// What JavaScript would write otherwise: the last digits, a zero, infinity, a small number.
const input = '{"id":1790000000000000007,"list":[1.0,1e400,{"x":-0.0000001}],"plain":5}';
const schema = '{"type":"object","properties":{"id":{"type":"integer","maximum":9223372036854775807}}}';
const args = JSON.stringify(input);

const chatAnswer = `{"id":"chatcmpl-1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":${args}}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`;
const claudeAnswer = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"tool_use","id":"toolu_1","name":"look","input":${input}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}`;

/** A provider that gives this answer and keeps what it was sent. */
async function setUp(wire: 'openai' | 'anthropic', terms: Record<string, unknown> = {}) {
  const bodies: string[] = [];
  const raw = await startRaw((_, body, response) => {
    bodies.push(body);
    response.setHeader('content-type', 'application/json');
    response.end(wire === 'openai' ? chatAnswer : claudeAnswer);
  });
  const proxy = await startHttpProxy(wire, { script, environment: raw.environment, terms });
  return {
    bodies,
    ask: proxy.ask,
    async send(path: string, body: string) {
      const answer = await proxy.post(path, body);
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
      return text;
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await raw[Symbol.asyncDispose]();
    },
  };
}

const messages = (more = '') => `{"model":"${model}","max_tokens":100,"temperature":1.0,${more}
  "tools":[{"name":"look","input_schema":${schema}}],
  "messages":[{"role":"user","content":"Look."},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"look","input":${input}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"seen"}]}]}`;
const chat = `{"model":"${model}","temperature":1.0,"tools":[{"type":"function","function":{"name":"look","parameters":${schema}}}],"messages":[{"role":"user","content":"Look."},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"look","arguments":${args}}}]},{"role":"tool","tool_call_id":"call_1","content":"seen"}]}`;
const responses = `{"model":"${model}","tools":[{"type":"function","name":"look","parameters":${schema}}],"input":[{"role":"user","content":"Look."},{"type":"function_call","call_id":"call_1","name":"look","arguments":${args}},{"type":"function_call_output","call_id":"call_1","output":"seen"}]}`;

test("numbers stay as they are from OpenAI's wire to a client of Anthropic's, and in its history and schemas", async (t) => {
  await using at = await setUp('openai');
  t.true((await at.send('/v1/messages', messages())).includes(`"input":${input}`));
  t.true(at.bodies[0]?.includes(`"arguments":${args}`));
  t.true(at.bodies[0]?.includes('"maximum":9223372036854775807'));
});

test("numbers stay as they are from Anthropic's wire to clients of OpenAI's, and in their histories and schemas", async (t) => {
  await using at = await setUp('anthropic');
  t.true((await at.send('/v1/chat/completions', chat)).includes(`"arguments":${args}`));
  t.true((await at.send('/v1/responses', responses)).includes(`"arguments":${args}`));
  for (const body of at.bodies) {
    t.true(body.includes(`"input":${input}`), body);
    t.true(body.includes('"maximum":9223372036854775807'), body);
  }
});

test('a body that must be rewritten keeps, byte for byte, each field that stays as it was', async (t) => {
  await using at = await setUp('anthropic', { models: [model] });
  const history = '{"b":1,"10":2,"2":3, "id":1790000000000000007,"one":1.0,"\\u00fc":"\\/"}';
  const body = messages(`"metadata":${history},`).replaceAll(input, history);
  await at.send('/v1/messages', body);
  const sent = at.bodies[0] ?? '';
  t.true(sent.includes(`"metadata":${history}`));
  t.true(sent.includes(body.slice(body.indexOf('[{"role":"user","content":"Look."}'), -1)));
  t.true(sent.includes('"temperature":1.0'));
  t.deepEqual<unknown, unknown>(JSON.parse(sent), JSON.parse(body));
  // What is lowered is written anew, and only that.
  await at.send('/v1/messages', body.replace('"max_tokens":100', '"max_tokens":90000000'));
  const lowered: { max_tokens: number } = JSON.parse(at.bodies[1] ?? '');
  t.true(lowered.max_tokens < 90_000_000);
  t.deepEqual<unknown, unknown>({ ...lowered, max_tokens: 100 }, JSON.parse(body));
  t.true(at.bodies[1]?.includes(`"metadata":${history}`));
});

test('a body that says a field twice is rewritten as it was read, and its numbers stay', async (t) => {
  await using at = await setUp('anthropic', { models: [model] });
  const twice = messages().replace('"content":"Look."', '"content":"Hide.","content":"Look."');
  await at.send('/v1/messages', twice);
  t.false(at.bodies[0]?.includes('Hide.'));
  t.true(at.bodies[0]?.includes(`"input":${input}`));
});

test('answers are kept apart by the numbers in their requests that JavaScript has as one', async (t) => {
  await using at = await setUp('openai');
  const body = messages().replace('"temperature":1.0', '"temperature":0');
  await at.send('/v1/messages', body);
  await at.send('/v1/messages', body);
  t.is(at.bodies.length, 1);
  await at.send('/v1/messages', body.replaceAll('1790000000000000007', '1790000000000000000'));
  t.is(at.bodies.length, 2);
});

test('a number where the wire has one is a number, however it is written', async (t) => {
  await using at = await setUp('openai');
  await at.send(
    '/v1/messages',
    JSON.stringify(messagesBody).replace('"max_tokens":100', '"max_tokens":1e2,"top_p":1.0'),
  );
  t.like(JSON.parse(at.bodies[0] ?? ''), { max_tokens: 100 });
});

for (const wire of ['openai', 'anthropic'] as const) {
  test(`an agent's call over NATS has its numbers as they are, and gives them back so: ${wire}`, async (t) => {
    await using at = await setUp(wire);
    const messages = [{ role: 'user' as const, text: 'Look.' }];
    const { answer } = await at.ask({ model, messages });
    const [call] = answer.toolCalls;
    t.is(call?.json, input);
    t.is(call?.args.plain, 5);
    const result = { role: 'tool' as const, callId: call?.callId ?? '', text: 'seen', isError: false };
    await at.ask({
      model,
      messages: [...messages, { role: 'assistant', text: '', toolCalls: answer.toolCalls }, result],
    });
    t.true(
      at.bodies.at(-1)?.includes(wire === 'openai' ? `"arguments":${args}` : `"input":${input}`),
      at.bodies.at(-1),
    );
  });
}
