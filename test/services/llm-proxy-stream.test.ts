import test from 'ava';
import { z } from 'zod';
import { openBus } from '#shared/bus/bus.ts';
import { request } from '#shared/contracts/contract.ts';
import type { ChatInput } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { question, startProxySystem, wires } from '#test/helpers/proxy.ts';
import { startNats } from '#test/helpers/servers.ts';
import { createChunks } from '../../services/llm-proxy/clients/nats/chunks.ts';

for (const wire of wires) {
  test(`${wire}: the text comes in chunks before the answer, which is whole all the same`, async (t) => {
    await using system = await startProxySystem(wire, {
      script: () => ({ text: 'All is well – 👍.', thinking: 'Hm.', toolCalls: [{ tool: 'look', args: { at: 'it' } }] }),
    });
    const ask = async (input: Partial<ChatInput>) => {
      const chunks: string[] = [];
      const options = { timeoutMs: 20_000, onChunk: (text: string) => void chunks.push(text) };
      const response = await system.bus.ask(chat, { ...question('Hello?'), ...input }, options);
      return { response, chunks };
    };
    const streamed = await ask({ stream: true });
    t.true(streamed.chunks.length > 0);
    t.is(streamed.chunks.join(''), 'All is well – 👍.');
    t.is(streamed.response.answer.text, 'All is well – 👍.');
    t.deepEqual(
      streamed.response.answer.toolCalls.map(({ args }) => args),
      [{ at: 'it' }],
    );
    t.deepEqual((await ask({})).chunks, [], 'who does not ask for chunks gets none');
  });

  test(`${wire}: the first chunk comes while the model still writes, and a failure may follow it`, async (t) => {
    await using system = await startProxySystem(wire, {
      script: () => ({ fault: 'stall' }),
      environment: { LLM_TIMEOUT: '3' },
    });
    let settled = false;
    const chunks: string[] = [];
    const asked = system.bus
      .ask(chat, { ...question('Hello?'), stream: true }, { timeoutMs: 20_000, onChunk: (text) => chunks.push(text) })
      .finally(() => {
        settled = true;
      });
    const failed = t.throwsAsync(asked, { code: 'timeout' });
    await eventually(() => chunks.length > 0);
    t.false(settled);
    t.true('An answer that will not come to its end'.startsWith(chunks.join('')));
    await failed;
  });

  test(`${wire}: a cached answer comes as one chunk`, async (t) => {
    const text = 'Yes. '.repeat(200);
    await using system = await startProxySystem(wire, { script: () => ({ text }) });
    for (const cache of ['miss', 'hit'] as const) {
      const chunks: string[] = [];
      const input = { ...question('a'), cache: true, stream: true };
      const { facts } = await system.bus.ask(chat, input, { onChunk: (chunk) => chunks.push(chunk) });
      t.is(facts.cache, cache);
      t.is(chunks.join(''), text);
      if (cache === 'hit') t.is(chunks.length, 1);
    }
  });
}

test('a model that writes word by word does not flood the bus: one chunk in 50 ms', async (t) => {
  const sent: { text: string; atMs: number }[] = [];
  const began = performance.now();
  let written = '';
  {
    using chunks = createChunks((text) => sent.push({ text, atMs: performance.now() - began }));
    while (performance.now() - began < 500) {
      chunks.add('word ');
      written += 'word ';
      if (written.length === 5) t.is(sent.length, 1, 'the first goes at once');
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  t.is(sent.map(({ text }) => text).join(''), written);
  t.true(sent.length > 1 && sent.length <= 12, `${sent.length} chunks in half a second`);
});

test('a chunk is never larger than a message may be, and after the end there is none', async (t) => {
  const sent: string[] = [];
  const chunks = createChunks((text) => sent.push(text));
  const text = '👍'.repeat(100_000);
  chunks.add(text);
  t.true(sent.length > 1);
  chunks[Symbol.dispose]();
  t.is(sent.join(''), text);
  t.true(sent.every((each) => Buffer.byteLength(JSON.stringify(each)) < 1_000_000));
  const count = sent.length;
  chunks.add('more');
  t.is(sent.length, count);
});

test('chunks keep their order, come before the answer, and need no listener', async (t) => {
  await using nats = await startNats();
  const options = { url: nats.url, leaseMs: 1_000, replicas: 1 };
  await using asker = await openBus({ ...options, name: 'asker' }, () => undefined);
  await using answerer = await openBus({ ...options, name: 'answerer' }, () => undefined);
  const count = request('test.count', z.object({ to: z.number() }), z.object({ done: z.boolean() }));
  answerer.answer(count, async ({ to }, sendChunk) => {
    for (let each = 1; each <= to; each++) sendChunk(`${each},`);
    if (to === 3) throw new Failure('upstream', 'cut off');
    return { done: true };
  });
  await eventually(() => asker.ask(count, { to: 0 }, { timeoutMs: 500 }));
  const heard: string[] = [];
  t.deepEqual(await asker.ask(count, { to: 1_000 }, { onChunk: (text) => heard.push(text) }), { done: true });
  t.is(heard.join(''), Array.from({ length: 1_000 }, (_, index) => `${index + 1},`).join(''));
  t.deepEqual(await asker.ask(count, { to: 5 }), { done: true }, 'nobody needs to listen');
  await t.throwsAsync(asker.ask(count, { to: 3 }), { code: 'upstream' });
});
