import test from 'ava';
import { newEvent } from '#shared/event.ts';

const draft = { type: 'toka.run.completed.v1', data: { result: 'done' } } as const;
const writer = { source: '/toka/test/1', actor: 'service:test' };
const traced = (runId: string) =>
  newEvent(draft, `run/${runId}`, { ...writer, tracing: true }, { correlationid: runId }).traceparent ?? '';

test('with tracing, all events of a run are in one trace, each a span of its own', (t) => {
  const [first, second, other] = [traced('run_1'), traced('run_1'), traced('run_2')].map((each) => each.split('-'));
  t.regex(traced('run_1'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  t.is(first?.[1], second?.[1]);
  t.not(first?.[2], second?.[2]);
  t.not(first?.[1], other?.[1]);
});

test('without tracing there is no trace context', (t) => {
  t.false('traceparent' in newEvent(draft, 'run/run_1', writer, { correlationid: 'run_1' }));
});
