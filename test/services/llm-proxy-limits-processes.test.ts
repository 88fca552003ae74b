import test from 'ava';
import { chat } from '#shared/contracts/llm.ts';
import { freePort } from '#shared/dev/launch/ports.ts';
import { startModule } from '#test/bench/runner/process.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { question, readMetric, startProxySystem } from '#test/helpers/proxy.ts';

test('three processes and five hundred callers: no window at the provider holds more than RATE_LIMIT_REQUESTS, and all are answered', async (t) => {
  t.timeout(180_000);
  const limit = 100;
  const windowMs = 5_000;
  await using system = await startProxySystem('openai', {
    script: () => ({ text: 'Yes.' }),
    environment: { RATE_LIMIT_REQUESTS: String(limit), RATE_LIMIT_WINDOW: '5', LLM_QUEUE_TIMEOUT: '120' },
    proxies: 0,
  });
  await using stack = new AsyncDisposableStack();
  const ports: number[] = [];
  for (let count = 0; count < 3; count++) {
    const port = await freePort();
    stack.use(
      await startModule('services/llm-proxy/main.ts', [], { ...system.environment, METRICS_PORT: String(port) }),
    );
    ports.push(port);
  }
  const ask = (index: number) =>
    system.bus.ask(chat, { ...question(`${index}`), agentId: `agent-${index % 20}` }, { timeoutMs: 120_000 });
  const answers = await Promise.all(Array.from({ length: 500 }, (_, index) => ask(index)));
  t.is(answers.length, 500);
  const times = system.fake.requests.map(({ timeMs }) => timeMs).toSorted((a, b) => a - b);
  t.is(times.length, 500);
  t.log(`500 calls in ${Math.round((times.at(-1) ?? 0) - (times[0] ?? 0))} ms`);
  for (const [index, time] of times.entries()) {
    const later = times[index + limit];
    t.true(
      later === undefined || later - time >= windowMs,
      `calls ${index} to ${index + limit}: ${(later ?? 0) - time} ms`,
    );
  }
  const waited = await Promise.all(ports.map((port) => readMetric(port, 'llm_queue_duration_seconds_count{')));
  t.true(
    waited.every((each) => (each ?? 0) > 50),
    `each had a share: ${waited.join(', ')}`,
  );
  await eventually(async () => {
    const left = await Promise.all(ports.map((port) => readMetric(port, 'llm_rate_limit_remaining{')));
    return left.every((each) => each === limit);
  });
});
