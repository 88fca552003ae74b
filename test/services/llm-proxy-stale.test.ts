import test from 'ava';
import type { Draft, Recorded } from '#shared/contracts/events.ts';
import type { ChatInput } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { createMetrics } from '#shared/metrics.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { ProxySystem } from '#test/helpers/proxy.ts';
import { startProxySystem, wires } from '#test/helpers/proxy.ts';
import { createCheckFresh } from '../../services/llm-proxy/pipeline/freshness.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const runId = 'run_01JDZZZZZZZZZZZZZZZZZZZZZZ';

/** Adds an event to the run; answers its sequence. */
const goOn = ({ bus }: ProxySystem, id = runId) =>
  bus.append(newEvent({ type: 'toka.run.started.v1', data: { runner: 'r' } } as Draft, `run/${id}`, writer));

for (const wire of wires)
  test(`who has not seen the last event of its run asks ${wire} nothing, and is told so`, async (t) => {
    await using system = await startProxySystem(wire, { script: () => ({ text: 'Yes.' }) });
    const seen = await goOn(system);
    const ask = (input: Partial<ChatInput>) => system.ask({ runId, agentId: 'a', ...input });
    t.is((await ask({ seen })).answer.text, 'Yes.');
    const later = await goOn(system);
    const failure = await t.throwsAsync<Failure>(ask({ seen }), { code: 'stale' });
    t.is(
      failure?.message,
      `the run ${runId} has gone on: its last event is ${later}, and ${seen} is what the caller knows`,
    );
    t.is(system.fake.requests.length, 1);
    t.is((await ask({ seen: later })).answer.text, 'Yes.');
    t.is((await ask({})).answer.text, 'Yes.', 'a runner of an earlier version is believed');
    t.is((await ask({ seen: 0, runId: 'run_01JDZZZZZZZZZZZZZZZZZZZZZ0' })).answer.text, 'Yes.', 'a run without events');
    await goOn(system, 'run_01JDZZZZZZZZZZZZZZZZZZZZZ1');
    t.is((await ask({ seen: later })).answer.text, 'Yes.', 'other runs are others');
    t.is(system.fake.requests.length, 5);
    t.is(await system.metric('llm_stale_total{'), 1);
    t.is((await system.ledger()).length, 5, 'what was not asked is no call');
  });

test('a call that waited for its turn while its run went on is not made', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using system = await startProxySystem('openai', {
    script: async () => {
      await promise;
      return { text: 'Yes.' };
    },
    environment: { LLM_CONCURRENCY: '1', LLM_QUEUE_TIMEOUT: '20' },
  });
  const seen = await goOn(system);
  const before = system.ask();
  await eventually(() => system.fake.requests.length === 1);
  const waiting = t.throwsAsync(system.ask({ runId, agentId: 'a', seen }), { code: 'stale' });
  await eventually(async () => (await system.metric('llm_queue_depth{')) === 1);
  await goOn(system);
  resolve();
  await before;
  await waiting;
  t.is(system.fake.requests.length, 1);
  t.is(await system.metric('llm_requests_active{'), 0, 'its place is free again');
  t.is((await system.ask()).answer.text, 'Yes.');
});

test('an equal call of another run is not refused with a stale one', async (t) => {
  await using system = await startProxySystem('openai', { script: () => ({ text: 'Yes.' }) });
  const other = 'run_01JDZZZZZZZZZZZZZZZZZZZZZ2';
  const [seen, seenOther] = [await goOn(system), await goOn(system, other)];
  await goOn(system);
  const equal = { agentId: 'a', temperature: 0 };
  const [stale, fresh] = await Promise.allSettled([
    system.ask({ ...equal, runId, seen }),
    system.ask({ ...equal, runId: other, seen: seenOther }),
  ]);
  t.is(fresh.status, 'fulfilled');
  // Whoever came second may have been given the other's answer, which costs nothing.
  t.true(stale.status === 'fulfilled' || (stale.reason instanceof Failure && stale.reason.code === 'stale'));
  t.is(system.fake.requests.length, 1);
});

test('what the log says is believed only where it is said at once, and without the log no model is asked', async (t) => {
  const metrics = createMetrics('llm-proxy', 'test', 10);
  let asked = 0;
  const slowly = async () => {
    asked += 1;
    // As if this process had been stopped between the question and its answer.
    if (asked === 1) await new Promise((resolve) => setTimeout(resolve, 600));
    return asked === 1 ? 5 : 6;
  };
  const event = {
    ...newEvent({ type: 'toka.run.started.v1', data: { runner: 'r' } } as Draft, `run/${runId}`, writer),
  };
  const read = async () => [{ ...event, seq: 6 } as Recorded];
  const check = (lastSeq: () => Promise<number>, events = read) =>
    createCheckFresh({ lastSeq, read: events }, metrics)({ runId, seen: 5 });
  await t.throwsAsync(check(slowly), { code: 'stale' });
  t.is(asked, 2);
  await t.notThrowsAsync(
    check(
      async () => 6,
      async () => [],
    ),
    'what is no event there is nothing that anybody could have seen',
  );
  const away = () => Promise.reject(new Error('TIMEOUT'));
  await t.throwsAsync(check(away), { code: 'unavailable' });
  await t.notThrowsAsync(createCheckFresh({ lastSeq: away, read }, metrics)({ runId }));
});
