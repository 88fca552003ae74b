import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createServer, getCACertificates, setDefaultCACertificates } from 'node:tls';
import test from 'ava';
import { chat } from '#shared/contracts/llm.ts';
import { freePort } from '#shared/dev/launch/ports.ts';
import { mintKey } from '#test/bench/proxy/mint-key.ts';
import { startModule } from '#test/bench/runner/process.ts';
import { makeCertificates } from '#test/helpers/certificates.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startForwardProxy } from '#test/helpers/forward-proxy.ts';
import { shortChat } from '#test/helpers/http-proxy.ts';
import { question, startProxySystem } from '#test/helpers/proxy.ts';
import { exchange } from '../../services/llm-proxy/upstreams/exchange.ts';
import { openUpstreams } from '../../services/llm-proxy/upstreams/upstreams.ts';

// The name is known to nobody but the forward proxy: whoever reaches it went through that.
const name = 'provider.test';
const portOf = (url: string) => new URL(url).port;

/** Speaks TLS for a server that does not. */
async function startTls(port: string) {
  const made = await makeCertificates(name);
  const [cert, key] = [readFileSync(made.cert), readFileSync(made.key)];
  const server = createServer({ cert, key }, (client) => {
    const upstream = connect(Number(port), '127.0.0.1');
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    ...{ caFile: made.caFile, port: typeof address === 'object' ? address?.port : 0 },
    async [Symbol.asyncDispose]() {
      server.close();
      await made[Symbol.asyncDispose]();
    },
  };
}

/** An llm-proxy as a process with these settings, in front of `fake`. Asks it over HTTP, then over NATS. */
async function startOwn(settings: (fakePort: string) => Record<string, string>) {
  await using stack = new AsyncDisposableStack();
  const system = stack.use(await startProxySystem('openai', { script: () => ({ text: 'From afar.' }), proxies: 0 }));
  const port = await freePort();
  const own = { LLM_PORT: String(port), NODE_USE_ENV_PROXY: '1', ...settings(portOf(system.fake.url)) };
  stack.use(await startModule('services/llm-proxy/main.ts', [], { ...system.environment, ...own }));
  const authorization = `Bearer ${await mintKey(system.nats.url)}`;
  const post = () =>
    fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      ...{ method: 'POST', headers: { authorization }, body: JSON.stringify(shortChat) },
    });
  const owned = stack.move();
  return {
    fake: system.fake,
    async ask() {
      const answer = await eventually(async () => {
        const response = await post();
        const text = await response.text();
        return response.status !== 401 && { status: response.status, text };
      });
      const { answer: typed } = await system.bus.ask(chat, question('Hello?'), { timeoutMs: 20_000 });
      return { ...answer, typed: typed.text };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('with NODE_USE_ENV_PROXY=1 calls to a provider over HTTP go through HTTP_PROXY', async (t) => {
  await using forward = await startForwardProxy();
  await using own = await startOwn((port) => ({
    HTTP_PROXY: forward.url,
    OPENAI_BASE_URL: `http://${name}:${port}/v1`,
  }));
  const { status, text, typed } = await own.ask();
  t.is(status, 200);
  t.regex(text, /From afar\./);
  t.is(typed, 'From afar.');
  const at = `${name}:${portOf(own.fake.url)}`;
  t.is(forward.lines[0], `POST http://${at}/v1/chat/completions`);
  t.true(forward.lines.length >= 2 && forward.lines.every((line) => line.includes(at)), forward.lines.join(', '));
});

test('with NODE_USE_ENV_PROXY=1 calls to a provider over HTTPS go through a tunnel of HTTPS_PROXY', async (t) => {
  await using forward = await startForwardProxy();
  await using fake = await startFakeProvider({ script: () => ({ text: 'From afar.' }) });
  await using secure = await startTls(portOf(fake.url));
  await using own = await startOwn(() => ({
    HTTPS_PROXY: forward.url,
    NODE_EXTRA_CA_CERTS: secure.caFile,
    OPENAI_BASE_URL: `https://${name}:${secure.port}/v1`,
  }));
  const { status, text, typed } = await own.ask();
  t.is(status, 200, text);
  t.is(typed, 'From afar.');
  t.deepEqual([...new Set(forward.lines)], [`CONNECT ${name}:${secure.port}`]);
  t.is(forward.lines.length, 1, 'one for clients and agents');
});

test('NO_PROXY is kept: its hosts are reached straight, and nothing is where no proxy is asked for', async (t) => {
  await using forward = await startForwardProxy();
  await using own = await startOwn(() => ({
    HTTP_PROXY: forward.url,
    NO_PROXY: 'elsewhere.test,127.0.0.1',
  }));
  t.like(await own.ask(), { status: 200, typed: 'From afar.' });
  t.deepEqual(forward.lines, []);
  await using without = await startOwn((port) => ({
    HTTP_PROXY: forward.url,
    NODE_USE_ENV_PROXY: '0',
    OPENAI_BASE_URL: `http://localhost:${port}/v1`,
  }));
  t.like(await without.ask(), { status: 200, typed: 'From afar.' });
  t.deepEqual(forward.lines, []);
});

for (const protocol of ['http', 'https']) {
  test(`connections to a provider over ${protocol} have their bound through a proxy, too`, async (t) => {
    const { promise, resolve } = Promise.withResolvers<FakeReply>();
    await using forward = await startForwardProxy();
    await using fake = await startFakeProvider({ script: () => promise });
    await using secure = await startTls(portOf(fake.url));
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(secure.caFile, 'utf8')]);
    const baseUrl = `${protocol}://${name}:${protocol === 'http' ? portOf(fake.url) : secure.port}/v1`;
    const proxy = { httpProxy: forward.url, httpsProxy: forward.url, noProxy: '' };
    await using upstreams = openUpstreams({ connections: 2, proxy });
    const remote = upstreams.remote({
      ...{ name: 'far', wire: 'openai', baseUrl, official: false, weight: 1, timeoutMs: 9_000, firstByteMs: 9_000 },
      apiKey: () => undefined,
      upstream: { label: 'far', keySetting: '', urlSetting: '', baseUrl },
    });
    if (!remote) return t.fail();
    const statuses: number[] = [];
    const receiver = {
      start: (status: number) => void statuses.push(status),
      data: () => true,
      end: () => undefined,
      close: () => undefined,
    };
    const asked = {
      ...{ origin: remote.origin, path: `${remote.basePath}/chat/completions`, headers: remote.headers() },
      body: Buffer.from(JSON.stringify(shortChat)),
    };
    const never = new AbortController().signal;
    const calls = Array.from({ length: 8 }, () => exchange(remote.dispatcher, asked, receiver, never));
    await eventually(() => fake.requests.length === 2);
    resolve({ text: 'Yes.' });
    await Promise.all(calls);
    t.deepEqual(statuses, Array(8).fill(200));
    t.is(forward.openMost(), 2);
  });
}
