import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import type { LlmEvent, Recorded } from '#shared/contracts/events.ts';
import { isLlmEvent } from '#shared/contracts/events.ts';
import type { ChatInput, ChatResponse } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import type { Context, Running } from '#shared/service.ts';
import { startService } from '#shared/service.ts';
import { Config } from '../../services/llm-proxy/config.ts';
import { open } from '../../services/llm-proxy/main.ts';
import type { FakeProvider, FakeScript } from './fake-provider.ts';
import { startFakeProvider } from './fake-provider.ts';
import type { Wire } from './fake-wires.ts';
import type { TestServer } from './servers.ts';
import { passwordOf, startNats, startNatsWithUsers, startRedis } from './servers.ts';

export const wires = ['anthropic', 'openai'] as const;
export const keyOfTests = 'sk-test-0123456789-very-secret';

/** One llm-proxy (or several) on a real nats-server and redis-server, in front of a fake provider. */
export type ProxySystem = {
  fake: FakeProvider;
  nats: TestServer;
  redis: TestServer;
  bus: Bus;
  proxies: Running[];
  /** Where each of them serves clients over HTTP. */
  urls: string[];
  environment: Record<string, string>;
  ask(input?: Partial<ChatInput>): Promise<ChatResponse>;
  ledger(): Promise<Recorded<LlmEvent>[]>;
  /** The value of a metric's sample whose line begins so, of the first proxy. */
  metric(beginning: string): Promise<number | undefined>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** `hasUsers`: each service has its own rights in NATS, and no more. */
type Options = { script: FakeScript; environment?: Record<string, string>; proxies?: number; hasUsers?: boolean };

export async function startProxySystem(
  wire: Wire,
  { script, environment = {}, proxies = 1, hasUsers = false }: Options,
): Promise<ProxySystem> {
  await using stack = new AsyncDisposableStack();
  const fake = stack.use(await startFakeProvider({ script }));
  const nats = stack.use(await (hasUsers ? startNatsWithUsers() : startNats()));
  const redis = stack.use(await startRedis());
  const admin = hasUsers ? { user: adminUser, password: passwordOf(adminUser) } : {};
  const bus = stack.use(
    await openBus({ url: nats.url, ...admin, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined),
  );
  const whole = {
    NATS_URL: nats.url,
    ...(hasUsers ? { NATS_USER: 'llm-proxy', NATS_PASSWORD: passwordOf('llm-proxy') } : {}),
    REDIS_URL: redis.url,
    LLM_PORT: '0',
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    LLM_PROVIDER: wire,
    ANTHROPIC_API_KEY: keyOfTests,
    OPENAI_API_KEY: keyOfTests,
    ANTHROPIC_BASE_URL: fake.url,
    OPENAI_BASE_URL: fake.openAiUrl,
    LLM_RETRIES: '0',
    LLM_QUEUE_TIMEOUT: '0',
    LLM_CLIENT_QUEUE_TIMEOUT: '0',
    ...environment,
  };
  const running: Running[] = [];
  const urls: string[] = [];
  const start = async (context: Context<Config>) => {
    urls.push(`http://127.0.0.1:${await open(context)}`);
  };
  for (let count = 0; count < proxies; count++) {
    running.push(stack.use(await startService('llm-proxy', Config, start, whole)));
  }
  const owned = stack.move();
  return {
    fake,
    nats,
    redis,
    bus,
    proxies: running,
    urls,
    environment: whole,
    ask: (input = {}) => bus.ask(chat, { ...question('Hello?'), ...input }, { timeoutMs: 60_000 }),
    ledger: async () => (await bus.read('llm', 'internal')).filter(isLlmEvent),
    metric: (beginning) => readMetric(running[0]?.port ?? 0, beginning),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The smallest chat. */
export const question = (text: string): ChatInput => ({ system: 'You are terse.', messages: [{ role: 'user', text }] });

export async function readMetric(port: number, beginning: string): Promise<number | undefined> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(beginning));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
}

/** The value of the one sample of a metric that has these labels, written as `name="value"`, whatever stands between them. */
export async function readSample(
  { proxies }: ProxySystem,
  name: string,
  ...labels: string[]
): Promise<number | undefined> {
  const text = await (await fetch(`http://127.0.0.1:${proxies[0]?.port}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) && labels.every((l) => line.includes(l)));
  if (lines.length > 1) throw new Error(`${lines.length} samples of ${name} have ${labels.join(', ')}`);
  return lines[0] === undefined ? undefined : Number(lines[0].slice(lines[0].lastIndexOf(' ') + 1));
}
