import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import OpenAI from 'openai';
import { Failure } from '#shared/errors.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { toWireError, writeOpenAiError } from '../../services/llm-proxy/wires/errors.ts';

const script = () => ({ text: 'unused' });
type Told = { status: number; error: Record<string, unknown>; headers?: Record<string, string> };
/** Closes the breaker. */
const well = 'a-model-that-answers';
const answers = {
  anthropic:
    '{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{}}',
  openai: '{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"content":"x"}}]}',
};

/** A provider of this wire that answers each call but those for one model with the error at hand, and clients of both. */
async function setUp(wire: 'anthropic' | 'openai') {
  await using stack = new AsyncDisposableStack();
  let told: Told = { status: 500, error: {} };
  const raw = stack.use(
    await startRaw((_, body, response) => {
      if (body.includes(well)) {
        response.setHeader('content-type', 'application/json').end(answers[wire]);
        return;
      }
      const { status, error, headers } = told;
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(wire === 'anthropic' ? { type: 'error', error } : { error }));
    }),
  );
  const proxy = stack.use(await startHttpProxy(wire, { script, environment: raw.environment }));
  const owned = stack.move();
  return {
    proxy,
    tell: (next: Told) => {
      told = next;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const statuses = [400, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529] as const;

test("an error of OpenAI's is of the same class in Anthropic's SDK", async (t) => {
  await using system = await setUp('openai');
  const { proxy, tell } = system;
  for (const status of statuses) {
    tell({ status, error: { message: 'so it is', type: 'x', code: `code-${status}`, param: null } });
    for (const stream of [false, true]) {
      const asked = { ...shortMessages, model: `m-${status}`, stream };
      const error = await t.throwsAsync(proxy.claude.messages.create(asked));
      if (!(error instanceof Anthropic.APIError)) return t.fail(String(error));
      t.is(error.status, status);
      t.is(error.constructor, Anthropic.APIError.generate(status, {}, '', new Headers()).constructor);
      t.is(error.errorCode, `code-${status}`);
      t.regex(error.apiMessage ?? '', /so it is/);
    }
    await proxy.claude.messages.create({ ...shortMessages, model: well });
  }
});

test("an error of Anthropic's is of the same class in OpenAI's SDK", async (t) => {
  await using system = await setUp('anthropic');
  const { proxy, tell } = system;
  for (const status of statuses) {
    tell({ status, error: { type: 'some_error', message: 'so it is' } });
    const asked = { ...shortChat, model: `m-${status}` };
    const error = await t.throwsAsync(proxy.openai.chat.completions.create(asked));
    if (!(error instanceof OpenAI.APIError)) return t.fail(String(error));
    t.is(error.status, status);
    t.is(error.constructor, OpenAI.APIError.generate(status, {}, '', new Headers()).constructor);
    const response = await proxy.post('/v1/responses', { model: `r-${status}`, input: 'Hi' });
    t.is(response.status, status);
    await proxy.openai.chat.completions.create({ ...shortChat, model: well });
  }
});

test('what clients act on has the name that their wire has for it', async (t) => {
  await using anthropic = await setUp('anthropic');
  const codes: [number, string, string, string][] = [
    [400, 'invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum', 'context_length_exceeded'],
    [404, 'not_found_error', 'model: claude-nope', 'model_not_found'],
    [429, 'rate_limit_error', 'Too many requests', 'rate_limit_exceeded'],
    [402, 'billing_error', 'There is an issue with your payment', 'insufficient_quota'],
    [400, 'invalid_request_error', 'Your credit balance is too low to access the API', 'insufficient_quota'],
  ];
  for (const [index, [status, type, message, code]] of codes.entries()) {
    anthropic.tell({ status, error: { type, message } });
    for (const path of ['/v1/chat/completions', '/v1/responses'] as const) {
      const body = path === '/v1/responses' ? { input: 'Hi' } : shortChat;
      const answer = await anthropic.proxy.post(path, { ...body, model: `m-${index}` });
      // Who asked made no mistake where the account cannot pay.
      t.is(answer.status, status === 400 && code === 'insufficient_quota' ? 402 : status);
      const { error } = (await answer.json()) as { error: { code: string; message: string } };
      t.is(error.code, code);
      t.true(error.message.includes(message));
    }
  }
  await using openai = await setUp('openai');
  openai.tell({
    status: 400,
    error: {
      type: 'invalid_request_error',
      code: 'context_length_exceeded',
      param: 'messages',
      message:
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130042 tokens. Please reduce the length of the messages.",
    },
  });
  const long = await t.throwsAsync(openai.proxy.claude.messages.create(shortMessages), {
    instanceOf: Anthropic.BadRequestError,
  });
  t.regex(long?.message ?? '', /prompt is too long: 130042 tokens > 128000 maximum/);
  openai.tell({ status: 400, error: { message: 'Your input exceeds the context window of this model.' } });
  const other = await t.throwsAsync(openai.proxy.claude.messages.create({ ...shortMessages, model: 'other' }));
  t.regex(other?.message ?? '', /prompt is too long \(/);
  openai.tell({
    status: 429,
    error: { type: 'insufficient_quota', code: 'insufficient_quota', message: 'You exceeded' },
  });
  const quota = await t.throwsAsync(openai.proxy.claude.messages.create({ ...shortMessages, model: 'third' }), {
    instanceOf: Anthropic.RateLimitError,
  });
  t.is(quota?.errorCode, 'insufficient_quota');
});

test('what a provider says of another try reaches clients of each wire', async (t) => {
  const headers = { 'x-should-retry': 'false', 'retry-after-ms': '1500', 'retry-after': '2' };
  for (const [path, body] of [
    ['/v1/messages', shortMessages],
    ['/v1/chat/completions', shortChat],
  ] as const) {
    await using system = await setUp('anthropic');
    system.tell({ status: 529, error: { type: 'overloaded_error', message: 'Overloaded' }, headers });
    const answer = await system.proxy.post(path, body);
    t.is(answer.status, 529);
    t.is(answer.headers.get('x-should-retry'), 'false');
    t.is(answer.headers.get('retry-after-ms'), '1500');
    t.is(answer.headers.get('retry-after'), '2');
  }
});

test('a model that we do not know has the code that OpenAI gives it', (t) => {
  const failure = new Failure('not-found', 'there is none', {
    problems: [{ field: 'model', message: 'there is none' }],
  });
  t.like(writeOpenAiError(toWireError(failure)), { error: { code: 'model_not_found', param: 'model' } });
  t.like(writeOpenAiError(toWireError(new Failure('not-found', 'no such path'))), { error: { code: 'not-found' } });
});
