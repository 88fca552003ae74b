import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import test from 'ava';
import { Agent, fetch } from 'undici';
import { startForwardProxy } from '#test/helpers/forward-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { openUpstreams } from '../../services/llm-proxy/upstreams/upstreams.ts';

/** undici's own clock, which its tests move on: its limits of 300 seconds need nobody to wait for them. */
const clock = createRequire(import.meta.url)('undici/lib/util/timers.js') as { tick(ms: number): void };
const aLongTime = 400_000;
/** Twice: a limit begins with the first, and is over with the second. */
const wait = () => {
  clock.tick(aLongTime);
  clock.tick(aLongTime);
};

/** A provider that answers by and by, as it is told. */
async function startSlow() {
  const asked = Promise.withResolvers<ServerResponse>();
  const raw = await startRaw((_, __, response) => asked.resolve(response));
  return {
    baseUrl: raw.environment.OPENAI_BASE_URL,
    asked: asked.promise,
    [Symbol.asyncDispose]: raw[Symbol.asyncDispose],
  };
}

/** Reads an answer of which the first byte, and then the next, take longer than undici's own limits. */
async function readSlowly(
  asked: Promise<ServerResponse>,
  answer: Promise<{ text(): Promise<string> }>,
): Promise<string> {
  const response = await asked;
  wait();
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
  const text = (await answer).text();
  wait();
  response.end('data: 2\n\n');
  await once(response, 'close');
  return text;
}

for (const through of ['straight', 'through a proxy'] as const)
  test.serial(`an agent's call may wait as long as its settings say, ${through}`, async (t) => {
    await using slow = await startSlow();
    await using forward = await startForwardProxy();
    const proxy = through === 'straight' ? undefined : { httpProxy: forward.url, httpsProxy: forward.url, noProxy: '' };
    await using upstreams = openUpstreams({ connections: 2, proxy });
    const { baseUrl } = slow;
    const remote = upstreams.remote({
      ...{ name: 'far', wire: 'openai', baseUrl, official: false, weight: 1, timeoutMs: 9_000, firstByteMs: 9_000 },
      pieceMs: 5_000,
      apiKey: () => undefined,
      upstream: { label: 'far', keySetting: '', urlSetting: '', baseUrl },
    });
    if (!remote) return t.fail();
    const answer = remote.send(Buffer.from('{}'), new AbortController().signal);
    t.is(await readSlowly(slow.asked, answer), 'data: 1\n\ndata: 2\n\n');
    t.is(forward.lines.length, proxy ? 1 : 0);
  });

test.serial('undici by itself would not wait so long', async (t) => {
  await using slow = await startSlow();
  const dispatcher = new Agent();
  t.teardown(() => dispatcher.destroy());
  const answer = fetch(slow.baseUrl, { dispatcher, method: 'POST', body: '{}' });
  const error = await t.throwsAsync(readSlowly(slow.asked, answer));
  t.like(error?.cause, { code: 'UND_ERR_HEADERS_TIMEOUT' });
});
