import { monitorEventLoopDelay } from 'node:perf_hooks';
import test from 'ava';
import { chat } from '#shared/contracts/llm.ts';
import { freePort } from '#shared/dev/launch/ports.ts';
import { mintKey } from '#test/bench/proxy/mint-key.ts';
import { startModule } from '#test/bench/runner/process.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat } from '#test/helpers/http-proxy.ts';
import type { ProxySystem } from '#test/helpers/proxy.ts';
import { question, readMetric, startProxySystem } from '#test/helpers/proxy.ts';

type Ports = { metrics: number; http: number };

/** So many llm-proxies as processes of their own. */
async function startProcesses(stack: AsyncDisposableStack, system: ProxySystem, count: number): Promise<Ports[]> {
  const all: Ports[] = [];
  for (let at = 0; at < count; at++) {
    const ports = { metrics: await freePort(), http: await freePort() };
    const own = { METRICS_PORT: String(ports.metrics), LLM_PORT: String(ports.http) };
    stack.use(await startModule('services/llm-proxy/main.ts', [], { ...system.environment, ...own }));
    all.push(ports);
  }
  return all;
}

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
  const ports = await startProcesses(stack, system, 3);
  const ask = (index: number) =>
    system.bus.ask(chat, { ...question(`${index}`), agentId: `agent-${index % 20}` }, { timeoutMs: 120_000 });
  const lag = monitorEventLoopDelay({ resolution: 10 });
  lag.enable();
  const answers = await Promise.all(Array.from({ length: 500 }, (_, index) => ask(index)));
  t.is(answers.length, 500);
  const times = system.fake.requests.map(({ timeMs }) => timeMs).toSorted((a, b) => a - b);
  t.is(times.length, 500);
  t.log(`500 calls in ${Math.round((times.at(-1) ?? 0) - (times[0] ?? 0))} ms`);
  // What this process, where the provider is, was too busy to see at once, it sees closer together than it was.
  const seenMs = windowMs - Math.ceil(lag.max / 1e6);
  t.true(seenMs > windowMs / 2, `a machine too slow for this: ${seenMs} ms are left of the window`);
  for (const [index, time] of times.entries()) {
    const later = times[index + limit];
    t.true(
      later === undefined || later - time >= seenMs,
      `calls ${index} to ${index + limit}: ${(later ?? 0) - time} ms`,
    );
  }
  const waited = await Promise.all(
    ports.map(({ metrics }) => readMetric(metrics, 'llm_queue_duration_seconds_count{')),
  );
  t.true(
    waited.every((each) => (each ?? 0) > 50),
    `each had a share: ${waited.join(', ')}`,
  );
  await eventually(async () => {
    const left = await Promise.all(ports.map(({ metrics }) => readMetric(metrics, 'llm_rate_limit_remaining{')));
    return left.every((each) => each === limit);
  });
});

test('equal questions to three processes over HTTP are one call to the provider', async (t) => {
  await using system = await startProxySystem('openai', {
    script: async () => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      return { text: 'Once.' };
    },
    proxies: 0,
  });
  await using stack = new AsyncDisposableStack();
  const ports = await startProcesses(stack, system, 3);
  const authorization = `Bearer ${await mintKey(system.nats.url)}`;
  const url = (at: number) => `http://127.0.0.1:${ports[at % 3]?.http}/v1/chat/completions`;
  const ask = async (at: number, text: string) => {
    const body = JSON.stringify({ ...shortChat, messages: [{ role: 'user', content: text }], temperature: 0 });
    const response = await fetch(url(at), { method: 'POST', headers: { authorization }, body });
    return { status: response.status, cache: response.headers.get('x-toka-cache'), text: await response.text() };
  };
  for (let at = 0; at < 3; at++) await eventually(async () => (await ask(at, `known ${at}`)).status === 200);
  const before = system.fake.requests.length;
  const answers = await Promise.all(Array.from({ length: 60 }, (_, at) => ask(at, 'the same')));
  t.is(system.fake.requests.length, before + 1);
  t.true(answers.every(({ status, text }) => status === 200 && text.includes('Once.')));
  t.is(answers.filter(({ cache }) => cache === 'miss').length, 1);
  t.is(answers.filter(({ cache }) => cache === 'coalesced').length, 59);
});
