import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import OpenAI from 'openai';
import type { Failure } from '#shared/errors.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { wires } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

type Answer = { status: number; headers?: Record<string, string>; body?: string; isCut?: boolean };

/** A provider that always answers so, and an llm-proxy that tries twice more. */
async function setUp(wire: (typeof wires)[number], environment: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  let answer: Answer = { status: 500 };
  let asked = 0;
  const raw = stack.use(
    await startRaw((_incoming, _body, response) => {
      asked += 1;
      write(response, answer);
    }),
  );
  const environmentOf = { ...raw.environment, LLM_RETRIES: '2', ...environment };
  const proxy = stack.use(await startHttpProxy(wire, { script: () => ({}), environment: environmentOf }));
  const options = { apiKey: proxy.key.secret, logLevel: 'off' as const };
  const sdks = {
    openai: new OpenAI({ ...options, baseURL: `${proxy.url}/v1` }),
    anthropic: new Anthropic({ ...options, baseURL: proxy.url }),
  };
  const ask = (sdk: 'openai' | 'anthropic', model: string, maxRetries = 2) =>
    sdk === 'openai'
      ? sdks.openai.chat.completions.create({ ...shortChat, model }, { maxRetries })
      : sdks.anthropic.messages.create({ ...shortMessages, model }, { maxRetries });
  /** How often the provider is asked for one call, and the status that the client sees. */
  const count = async (given: Answer, sdk: 'openai' | 'anthropic', model: string, maxRetries?: number) => {
    answer = given;
    asked = 0;
    const began = performance.now();
    const error = await ask(sdk, model, maxRetries).then(
      () => undefined,
      (thrown: { status?: number; error?: unknown }) => thrown,
    );
    return { asked, status: error?.status, error, ms: performance.now() - began };
  };
  const play = (given: Answer) => {
    answer = given;
    asked = 0;
  };
  const owned = stack.move();
  return { proxy, count, play, asked: () => asked, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function write(response: ServerResponse, { status, headers = {}, body = '{"error":{"message":"no"}}', isCut }: Answer) {
  if (status === 0) return void response.destroy();
  response.writeHead(status, {
    'content-type': 'application/json',
    ...headers,
    ...(isCut ? { 'content-length': body.length + 100 } : {}),
  });
  if (isCut) response.write(body, () => setTimeout(() => response.destroy(), 20));
  else response.end(body);
}

const quota =
  '{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}';
const tier =
  '{"type":"error","error":{"type":"rate_limit_error","message":"spent","details":{"error_code":"enforced_spend_limit_reached"}}}';
const credit =
  '{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}';
const no = { 'x-should-retry': 'false' };

const fine = {
  openai: { status: 200, body: '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}' },
  anthropic: { status: 200, body: '{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":1}}' },
};
const smallest = {
  openai: ['/v1/chat/completions', shortChat] as const,
  anthropic: ['/v1/messages', shortMessages] as const,
};

const cases: [what: string, answer: Answer, asked: number][] = [
  ['500', { status: 500 }, 3],
  ['502', { status: 502 }, 3],
  ['503', { status: 503 }, 3],
  ['529', { status: 529 }, 3],
  ['409', { status: 409 }, 3],
  ['a reset', { status: 0 }, 3],
  ['500 and a no', { status: 500, headers: no }, 1],
  ['429 and a no', { status: 429, headers: no }, 1],
  ['402', { status: 402 }, 1],
  ['429 of a used up quota', { status: 429, body: quota }, 1],
  ['429 of a spend limit', { status: 429, body: tier }, 1],
  ['400 of a used up credit', { status: 400, body: credit }, 1],
  ['an answer that is cut', { status: 200, body: '{"id":"x","choices":[', isCut: true }, 1],
];

for (const wire of wires)
  test(`${wire}: a provider is asked as often for one call as if there were nobody between, by both SDKs`, async (t) => {
    await using system = await setUp(wire);
    for (const sdk of ['openai', 'anthropic'] as const)
      for (const [index, [what, answer, asked]] of cases.entries()) {
        const found = await system.count(answer, sdk, `m-${index}`);
        t.is(found.asked, asked, `${what}, by the SDK of ${sdk}`);
        t.truthy(found.error, what);
        // So that its breaker stays closed.
        system.play(fine[wire]);
        t.is((await system.proxy.post(smallest[wire][0], smallest[wire][1])).status, 200);
      }
  });

test('a Retry-After is the client’s own to wait for, or not', async (t) => {
  await using system = await setUp('openai');
  const limited = { status: 429, headers: { 'retry-after': '1' } };
  for (const sdk of ['openai', 'anthropic'] as const) {
    const at = await system.count(limited, sdk, `patient-${sdk}`);
    t.is(at.asked, 3);
    t.is(at.status, 429);
    t.true(at.ms > 1_900 && at.ms < 6_000, `${at.ms} ms: the SDK waits twice`);
    const hasty = await system.count({ ...limited, headers: { 'retry-after': '5' } }, sdk, `hasty-${sdk}`, 0);
    t.is(hasty.asked, 1);
    t.true(hasty.ms < 1_000, `${hasty.ms} ms`);
  }
});

test('with LLM_RETRIES=0 the clients’ SDKs try again, and what they are told is what the provider says', async (t) => {
  await using system = await setUp('openai', { LLM_RETRIES: '0' });
  t.is((await system.count({ status: 500 }, 'openai', 'm')).asked, 3);
  t.is((await system.count({ status: 500, headers: no }, 'openai', 'm')).asked, 1);
  system.play({ status: 500 });
  const answer = await system.proxy.post('/v1/chat/completions', shortChat);
  t.is(answer.headers.get('x-should-retry'), null);
});

test('tries that a client has made are counted, and a no is told once all is tried', async (t) => {
  await using system = await setUp('openai');
  system.play({ status: 500 });
  const answer = await system.proxy.post('/v1/chat/completions', shortChat, { 'x-stainless-retry-count': '1' });
  t.is(answer.status, 500);
  t.is(answer.headers.get('x-should-retry'), 'false');
  t.is(system.asked(), 2);
});

test('an agent’s call that was tried already says so, and a used up account whose it is to mend', async (t) => {
  await using system = await setUp('openai');
  system.play({ status: 503 });
  const failure = await t.throwsAsync<Failure>(system.proxy.ask(), { code: 'unavailable' });
  t.is(failure?.shouldRetry, false);
  t.is(system.asked(), 3);
  system.play({ status: 402, body: '{"error":{"message":"Insufficient Balance"}}' });
  await t.throwsAsync(system.proxy.ask(), {
    code: 'unpaid',
    message: /^OpenAI answered 402: Insufficient Balance; whoever runs this has to see to the account at OpenAI/,
  });
  t.is(system.asked(), 1);
});

test('one client’s request that always fails holds nobody else back', async (t) => {
  await using stack = new AsyncDisposableStack();
  const raw = stack.use(
    await startRaw((_incoming, body, response) =>
      body.includes('poison') ? write(response, { status: 500 }) : write(response, fine.openai),
    ),
  );
  const proxy = stack.use(await startHttpProxy('openai', { script: () => ({}), environment: raw.environment }));
  const bad = { ...shortChat, messages: [{ role: 'user', content: 'poison' }] };
  for (let each = 0; each < 25; each++) t.is((await proxy.post('/v1/chat/completions', bad)).status, 500);
  t.is((await proxy.post('/v1/chat/completions', shortChat)).status, 200);
});
