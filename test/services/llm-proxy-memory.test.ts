import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { freePort } from '#shared/dev/launch/ports.ts';
import { createMetrics } from '#shared/metrics.ts';
import { mintKey } from '#test/bench/proxy/mint-key.ts';
import { startModule } from '#test/bench/runner/process.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat } from '#test/helpers/http-proxy.ts';
import { readMetric, startProxySystem } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { createMemory } from '../../services/llm-proxy/clients/http/memory.ts';

const mib = 1_048_576;
const answer = '{"model":"m","choices":[{"finish_reason":"stop","message":{"content":"x"}}]}';

/**
 * In the stack's container of 512 MiB Node makes its heap as large as this, and its young half so small; on a machine with more memory that alone
 * grows to 64 MiB (Node 24.21, by v8.getHeapSpaceStatistics() in a cgroup of that size). The last is set by compose.yaml.
 */
const asInTheStack = {
  NODE_OPTIONS: '--max-old-space-size=256 --max-semi-space-size=1',
  MALLOC_MMAP_THRESHOLD_: '1048576',
};

type Sent = { status: number; text: string; retryAfter: string | undefined };

/** An llm-proxy as a process of its own in front of a provider that answers once it is let, and two client keys. */
async function open(stack: AsyncDisposableStack, environment: Record<string, string> = {}, embeddings = '') {
  const gate = Promise.withResolvers<void>();
  stack.defer(() => gate.resolve());
  const raw = stack.use(
    await startRaw(async ({ url }, _, response) => {
      await gate.promise;
      response.setHeader('content-type', 'application/json').end(url?.endsWith('embeddings') ? embeddings : answer);
    }),
  );
  const system = stack.use(await startProxySystem('openai', { script: () => ({ text: '' }), proxies: 0 }));
  const [port, metrics] = [await freePort(), await freePort()];
  const own = { ...asInTheStack, LLM_PORT: String(port), METRICS_PORT: String(metrics) };
  const proxy = stack.use(
    await startModule('services/llm-proxy/main.ts', [], {
      ...{ ...system.environment, RATE_LIMIT_REQUESTS: '10000', ...raw.environment, ...own, ...environment },
    }),
  );
  const keys = [await mintKey(system.nats.url), await mintKey(system.nats.url)] as const;
  const send = (body: Buffer | string, key = keys[0], path = '/v1/chat/completions', chunked = false, encoding = '') =>
    new Promise<Sent>((resolve, reject) => {
      const length = chunked ? {} : { 'content-length': Buffer.byteLength(body) };
      const packed = encoding === '' ? {} : { 'content-encoding': encoding };
      const headers = { authorization: `Bearer ${key}`, ...length, ...packed };
      const sending = request({ port, path, method: 'POST', headers }, (incoming) => {
        let text = '';
        incoming.on('data', (part) => {
          text += part;
        });
        incoming.on('error', reject).on('end', () => {
          resolve({ status: incoming.statusCode ?? 0, text, retryAfter: incoming.headers['retry-after'] });
          // What was refused need not be sent to its end.
          sending.destroy();
        });
      });
      sending.on('error', reject).end(body);
    });
  for (const key of keys)
    await eventually(
      async () =>
        (await fetch(`http://127.0.0.1:${port}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).ok,
    );
  return {
    ...{ port, keys, send, letAnswer: gate.resolve },
    held: () => readMetric(metrics, 'llm_requests_memory_bytes{'),
    peakMib: () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${proxy.pid}/status`, 'utf8'))?.[1]) / 1_024,
  };
}

const large = (letter = 'x', bytes = 30 * mib) =>
  Buffer.from(
    `{"model":"m","messages":[{"role":"user","content":"${letter.repeat(bytes / Buffer.byteLength(letter))}"}]}`,
  );

/** The stack gives an llm-proxy 512 MiB. */
function checkPeak(t: ExecutionContext, { peakMib }: { peakMib(): number }) {
  t.log(`${Math.round(peakMib())} MiB at its peak`);
  t.true(peakMib() < 512);
}

test.serial(
  'two dozen bodies of 30 MiB at once take no more memory than one may, and keep out nobody else',
  async (t) => {
    t.timeout(180_000);
    await using stack = new AsyncDisposableStack();
    const proxy = await open(stack);
    // Of text in which a letter takes two bytes in memory and four on the way.
    const body = large('😀');
    const sent = Array.from({ length: 24 }, () => proxy.send(body));
    await eventually(async () => ((await proxy.held()) ?? 0) > 100 * mib);
    const ends = Promise.all(sent);
    const other = proxy.send(JSON.stringify(shortChat), proxy.keys[1]);
    const largeToo = proxy.send(body, proxy.keys[1]);
    await eventually(async () => ((await proxy.held()) ?? 0) > 200 * mib);
    proxy.letAnswer();
    t.is((await other).status, 200);
    t.is((await largeToo).status, 200, 'another key has room for such a one, too');
    const refused = (await ends).filter(({ status }) => status !== 200);
    t.true(refused.length >= 20, `${refused.length} are refused`);
    for (const each of refused) {
      t.is(each.status, 429);
      t.is(each.retryAfter, '1');
      t.regex(each.text, /requests of this key take \d+ MiB of memory.*LLM_REQUESTS_MEMORY/);
    }
    checkPeak(t, proxy);
    for (let count = 0; count < 2; count++) t.is((await proxy.send(body)).status, 200, 'one at a time goes through');
    checkPeak(t, proxy);
    await eventually(async () => (await proxy.held()) === 0);
  },
);

test.serial(
  'one letter that makes every other take two bytes is counted, and so is a body that is written anew',
  async (t) => {
    t.timeout(180_000);
    await using stack = new AsyncDisposableStack();
    const proxy = await open(stack);
    proxy.letAnswer();
    // With a field twice the provider is sent what we have read.
    const body = Buffer.from(
      `{"model":"m","n":1,"n":1,"messages":[{"role":"user","content":"${'x'.repeat(30 * mib)}😀"}]}`,
    );
    for (let count = 0; count < 4; count++) {
      const sent = await Promise.all(proxy.keys.map((key) => proxy.send(body, key)));
      for (const { status, text } of sent) t.true(status === 200 || status === 503, `${status} ${text.slice(0, 200)}`);
    }
    t.is((await proxy.send(body)).status, 200, 'one at a time goes through');
    checkPeak(t, proxy);
    await eventually(async () => (await proxy.held()) === 0);
  },
);

test.serial(
  'a body of small things, of many fields, of unknown length or of many levels ends no process',
  async (t) => {
    t.timeout(180_000);
    await using stack = new AsyncDisposableStack();
    const proxy = await open(stack);
    proxy.letAnswer();
    const before = '{"model":"m","messages":[{"role":"user","content":';
    const size = 12 * mib;
    const attacks: [string, number][] = [
      [`${before}[${'{},'.repeat(size / 3)}{}]}]}`, 413],
      [`${before}[${'[],'.repeat(size / 3)}[]]}]}`, 413],
      [`${before}{${Array.from({ length: 400_000 }, (_, at) => `"field ${at}":1`).join(',')}}}]}`, 413],
      [`${before}${'['.repeat(20_000)}${']'.repeat(20_000)}}]}`, 400],
      [`${before}${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}]}`, 400],
      [`${before}"${'\\u0000'.repeat(size / 6)}"}]}`, 200],
    ];
    for (const [body, status] of attacks) {
      const { status: got, text } = await proxy.send(body);
      t.is(got, status, `${body.slice(40, 80)}… ${text.slice(0, 200)}`);
    }
    const whole = large();
    t.is((await proxy.send(whole, undefined, undefined, true)).status, 200, 'in chunks it may come, too');
    const chunked = await Promise.all(Array.from({ length: 4 }, () => proxy.send(whole, undefined, undefined, true)));
    t.true(chunked.every(({ status }) => status === 200 || status === 429 || status === 503));
    t.is((await proxy.send(large('x', 33 * mib))).status, 413);
    t.is((await proxy.send(JSON.stringify(shortChat))).status, 200);
    checkPeak(t, proxy);
    await eventually(async () => (await proxy.held()) === 0);
  },
);

test.serial('compressed bodies take no more memory than others, however small they come', async (t) => {
  t.timeout(180_000);
  await using stack = new AsyncDisposableStack();
  const proxy = await open(stack);
  proxy.letAnswer();
  for (const [encoding, packed] of [
    ['gzip', gzipSync(large())],
    ['zstd', zstdCompressSync(large())],
  ] as const) {
    const ends = await Promise.all(
      Array.from({ length: 8 }, () => proxy.send(packed, undefined, undefined, false, encoding)),
    );
    t.true(ends.some(({ status }) => status === 200));
    t.true(ends.every(({ status }) => status === 200 || status === 429 || status === 503));
  }
  t.is((await proxy.send(JSON.stringify(shortChat))).status, 200);
  checkPeak(t, proxy);
  await eventually(async () => (await proxy.held()) === 0);
});

test.serial('bodies that never come in whole take nothing for long, and nothing from others', async (t) => {
  t.timeout(180_000);
  await using stack = new AsyncDisposableStack();
  const proxy = await open(stack, { LLM_REQUEST_TIMEOUT: '2' });
  proxy.letAnswer();
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${proxy.keys[0]}\r\n`;
  const answers: string[] = [];
  const sockets = Array.from({ length: 400 }, () => {
    const socket = connect(proxy.port, '127.0.0.1');
    const at = answers.push('') - 1;
    socket.on('data', (part) => {
      answers[at] = `${answers[at]}${part}`;
    });
    socket.on('error', () => undefined);
    socket.write(`${head}content-length: 1000000\r\n\r\n{"model":"m",`);
    return socket;
  });
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
  });
  await eventually(() => answers.some((text) => text.startsWith('HTTP/1.1 429 ')));
  t.is((await proxy.send(JSON.stringify(shortChat), proxy.keys[1])).status, 200, 'another key is not kept out');
  await eventually(() => answers.every((text) => text.startsWith('HTTP/1.1 4')));
  const late = answers.filter((text) => text.startsWith('HTTP/1.1 408 '));
  t.true(late.length > 20, `${late.length} had begun`);
  t.true(late.every((text) => text.includes('connection: close') && text.includes('LLM_REQUEST_TIMEOUT')));
  await eventually(async () => (await proxy.held()) === 0);
  t.is((await proxy.send(JSON.stringify(shortChat))).status, 200);
  checkPeak(t, proxy);
});

test.serial(
  'answers that are collected take of the same memory, and one that finds none is a failure of its own call',
  async (t) => {
    t.timeout(180_000);
    await using stack = new AsyncDisposableStack();
    const long = `{"data":[],"model":"e","usage":{"prompt_tokens":3},"filler":"${'9'.repeat(30 * mib)}"}`;
    const proxy = await open(stack, {}, long);
    const body = '{"model":"e","input":["a"]}';
    const sent = Array.from({ length: 8 }, () => proxy.send(body, undefined, '/v1/embeddings'));
    proxy.letAnswer();
    const ends = await Promise.all(sent);
    t.true(ends.some(({ status }) => status === 200));
    const cut = ends.filter(({ status, text }) => status === 502 && /cannot be kept.*LLM_REQUESTS_MEMORY/.test(text));
    t.true(cut.length > 0);
    t.true(
      ends.every(({ status }) => [200, 429, 502].includes(status)),
      ends.map(({ status }) => status).join(),
    );
    await eventually(async () => (await proxy.held()) === 0);
    t.is((await proxy.send(body, undefined, '/v1/embeddings')).status, 200);
    checkPeak(t, proxy);
  },
);

test.serial(
  'answers that nobody reads are counted until they have had their time, and then they are gone',
  async (t) => {
    t.timeout(180_000);
    await using stack = new AsyncDisposableStack();
    const long = `{"data":[],"model":"e","usage":{"prompt_tokens":3},"filler":"${'9'.repeat(30 * mib)}"}`;
    const proxy = await open(stack, { LLM_REQUEST_TIMEOUT: '5' }, long);
    proxy.letAnswer();
    const body = '{"model":"e","input":["a"]}';
    const head = `POST /v1/embeddings HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${proxy.keys[0]}\r\n`;
    const sockets = Array.from({ length: 4 }, () => {
      const socket = connect(proxy.port, '127.0.0.1').pause();
      socket.on('error', () => undefined);
      socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
      return socket;
    });
    stack.defer(() => {
      for (const socket of sockets) socket.destroy();
    });
    await eventually(async () => ((await proxy.held()) ?? 0) > 80 * mib);
    t.is((await proxy.send(JSON.stringify(shortChat), proxy.keys[1])).status, 200, 'another key is not kept out');
    await eventually(async () => (await proxy.held()) === 0);
    t.is((await proxy.send(JSON.stringify(shortChat))).status, 200);
    checkPeak(t, proxy);
  },
);

test('a key has half of the memory, or one call that needs more, and what is given back twice counts once', (t) => {
  const memory = createMemory(100 * mib, createMetrics('llm-proxy', 'test', 10));
  const first = memory.take('a', 80 * mib);
  t.throws(() => memory.take('a', 1), { code: 'limited' });
  const other = memory.take('b', 10 * mib);
  t.throws(() => other.grow(20 * mib), { code: 'unavailable' });
  t.throws(() => memory.take('c', 100 * mib), { code: 'too-large' });
  first.share();
  first.give();
  t.throws(() => memory.take('a', 1), { code: 'limited' }, 'somebody else needs it still');
  first.give();
  first.give();
  const small = [memory.take('a', 20 * mib), memory.take('a', 20 * mib)];
  t.throws(() => memory.take('a', 20 * mib), { code: 'limited' });
  for (const each of [...small, other]) each.give();
  t.notThrows(() => memory.take('a', 99 * mib));
});

test('what large calls leave behind takes memory until it is collected, which is when another needs the room', (t) => {
  let collected = 0;
  const memory = createMemory(100 * mib, createMetrics('llm-proxy', 'test', 10), () => void collected++);
  for (let count = 0; count < 10_000; count++) memory.take('a', 100_000).give();
  t.is(collected, 0, 'small ones are no matter');
  memory.take('a', 60 * mib).give();
  const held = memory.take('a', 30 * mib);
  t.is(collected, 0, 'there is room for both');
  held.grow(20 * mib);
  t.is(collected, 1);
  held.give();
  t.throws(() => memory.take('a', 101 * mib), { code: 'too-large' });
  t.is(collected, 1, 'not for what is refused');
  memory.take('b', 60 * mib);
  t.is(collected, 2);
});
