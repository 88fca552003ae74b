import test from 'ava';
import { model, shortChat, startHttpProxy, usage } from '#test/helpers/http-proxy.ts';
import { readSample } from '#test/helpers/proxy.ts';

const duration = 'gen_ai_client_operation_duration_seconds_count';

test("calls, tokens and first chunks are counted in OpenTelemetry's names", async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => ({ text: 'Yes.', usage }) });
  await (await proxy.post('/v1/chat/completions', shortChat)).text();
  await (await proxy.post('/v1/chat/completions', { ...shortChat, stream: true })).text();
  await proxy.calls(2);
  const labels = [
    'gen_ai_operation_name="chat"',
    'gen_ai_provider_name="openai"',
    `gen_ai_request_model="${model}"`,
  ] as const;
  t.is(await readSample(proxy, duration, ...labels), 2);
  t.is(await readSample(proxy, duration, 'error_type='), undefined);
  t.is(
    await readSample(proxy, 'gen_ai_client_operation_time_to_first_chunk_seconds_count', ...labels),
    1,
    'the stream',
  );
  for (const [type, tokens] of [
    ['input', usage.inputTokens],
    ['output', usage.outputTokens],
    ['cached-input', usage.cachedInputTokens],
  ] as const) {
    const sum = await readSample(proxy, 'gen_ai_client_token_usage_sum', ...labels, `gen_ai_token_type="${type}"`);
    t.is(sum, 2 * tokens, type);
  }
});

test('a failure is counted by its type, and names that no provider knows make no series', async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => ({ status: 404, message: 'no such model' }) });
  for (let count = 0; count < 5; count++) {
    const answer = await proxy.post('/v1/chat/completions', { ...shortChat, model: `gpt-made-up-${count}` });
    t.is(answer.status, 404);
    await answer.text();
  }
  await proxy.calls(5);
  t.is(await readSample(proxy, duration, 'gen_ai_request_model="other"', 'error_type="invalid"'), 5);
  t.is(await readSample(proxy, duration, 'gpt-made-up'), undefined);
  t.is(await readSample(proxy, 'llm_requests_total', 'model="other"', 'outcome="invalid"'), 5);
});
