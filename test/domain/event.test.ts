import test from 'ava';
import { newEvent } from '#shared/event.ts';
import { readTrace } from '#shared/trace.ts';

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

test('a trace that somebody began goes on, each event a span of its own; the request at hand comes before the run', (t) => {
  const began = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`, tracestate: 'vendor=1' };
  const event = newEvent(draft, 'run/run_1', { ...writer, tracing: true }, { correlationid: 'run_1', trace: began });
  t.regex(event.traceparent ?? '', /^00-a{32}-[0-9a-f]{16}-00$/);
  t.notRegex(event.traceparent ?? '', /b{16}/);
  t.is(event.tracestate, 'vendor=1');
  t.false('trace' in event);
  const asked = { traceparent: `00-${'c'.repeat(32)}-${'b'.repeat(16)}-01` };
  const other = newEvent(draft, 'run/run_1', { ...writer, tracing: true, trace: asked }, { trace: began });
  t.regex(other.traceparent ?? '', /^00-c{32}-/);
  t.false('tracestate' in other);
});

test('of a trace context what is well formed counts', (t) => {
  const [id, span] = ['a'.repeat(32), 'b'.repeat(16)];
  const whole = `00-${id}-${span}-01`;
  t.deepEqual(readTrace(whole, ''), { traceparent: whole });
  t.deepEqual(readTrace(whole, 'a=1,b=2'), { traceparent: whole, tracestate: 'a=1,b=2' });
  t.deepEqual(readTrace(whole, 'x'.repeat(513)), { traceparent: whole });
  t.deepEqual(readTrace(`01-${id}-${span}-01-more`, ''), { traceparent: whole }, 'of a version to come');
  for (const bad of ['', 'x', `00-${id}-${span}-01-more`, `ff-${id}-${span}-01`, `00-${'0'.repeat(32)}-${span}-01`])
    t.is(readTrace(bad, ''), undefined, bad);
  for (const bad of [`00-${id}-${'0'.repeat(16)}-01`, whole.toUpperCase(), ` ${whole}`, `00-${id}-${span}-1`])
    t.is(readTrace(bad, ''), undefined, bad);
});
