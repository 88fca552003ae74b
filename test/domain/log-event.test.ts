import test from 'ava';
import type { RawEvent } from '#shared/bus/log-event.ts';
import { readLogEvent } from '#shared/bus/log-event.ts';
import { matches } from '#shared/bus/matches.ts';
import type { DataOf, Draft, TokaEvent } from '#shared/contracts/events.ts';
import { filtersOf, subjectOf } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { queued } from '#test/helpers/events.ts';

const id = 'run_01KAR0000000000000000000AA';
const ann = { source: '/toka/gateway/1', actor: 'user:ann' };
const service = { source: '/toka/scheduler/1', actor: 'service:scheduler' };
const message: Draft = { type: 'toka.run.message-received.v1', data: { text: 'hello', mode: 'enqueue' } };

const lying = (event: object, subject: string, seq = 10): RawEvent => ({
  seq,
  subject,
  bytes: Buffer.from(JSON.stringify(event)),
});
const read = (event: object, subject: string, decisionsSince = 0) =>
  readLogEvent(lying(event, subject), decisionsSince);

test('an event counts on its own subject, with its sequence', (t) => {
  const event = newEvent(queued, `run/${id}`, service);
  t.deepEqual(read(event, `toka.events.run.${id}`), { event: { ...event, seq: 10 } as never });
  for (const elsewhere of ['toka.events.run.run_other', 'toka.events.agent.scout', `toka.events.decision.${id}`])
    t.true('odd' in read(event, elsewhere), elsewhere);
});

test('an event of a type that is not known is of a newer version; all else is odd, and nothing throws', (t) => {
  const event = newEvent(queued, `run/${id}`, service);
  t.deepEqual(read({ ...event, type: 'toka.run.dreamt.v1' }, `toka.events.run.${id}`), { newer: 'toka.run.dreamt.v1' });
  t.deepEqual(read({ ...event, type: 'toka.run.queued.v2' }, `toka.events.run.${id}`), { newer: 'toka.run.queued.v2' });
  for (const odd of [
    {},
    [],
    'x',
    1,
    { type: 'toka.run.queued.v1' },
    { ...event, data: {} },
    { ...event, type: 'other' },
  ])
    t.true('odd' in read(odd as object, `toka.events.run.${id}`), JSON.stringify(odd));
  for (const text of ['', '{', '{"stream":"EVENTS","seq":1}', 'null'])
    t.true('odd' in readLogEvent({ seq: 1, subject: `toka.events.run.${id}`, bytes: Buffer.from(text) }, 0), text);
  t.true('odd' in readLogEvent({ seq: 1, subject: 'x', bytes: Buffer.from([0xff, 0xfe]) }, 0));
});

test('what a person says counts only where the gateway alone may write, and what is about another thing nowhere', (t) => {
  const said = newEvent(message, `run/${id}`, ann);
  t.is(subjectOf(said), `toka.events.decision.${id}`);
  t.true('event' in read(said, `toka.events.decision.${id}`));
  const { decision: _, ...unmarked } = said;
  t.true('odd' in read(unmarked, `toka.events.run.${id}`));
  t.true('event' in read(unmarked, `toka.events.run.${id}`, 10), 'as versions before that rule wrote it');
  const draft: Draft = { type: 'toka.agent.registered.v1', data: { spec: agentSpec(), origin: 'api' } };
  const forged = { ...newEvent(draft, 'agent/scout', ann), subject: `run/${id}` };
  t.true('odd' in read(forged, `toka.events.run.${id}`));
  const failed = newEvent({ type: 'toka.run.failed.v1', data: { code: 'x', message: 'x' } }, `run/${id}`, ann);
  t.true('odd' in read(failed, `toka.events.run.${id}`), 'no person writes what a runner does');
});

test('what a person asks for counts only where the gateway alone may write, whoever it is said to be of', (t) => {
  const data = queued.data as DataOf<'toka.run.queued.v1'>;
  const byPerson = newEvent(queued, `run/${id}`, ann);
  const byNobody = newEvent({ type: 'toka.run.queued.v1', data: { ...data, trigger: 'api' } }, `run/${id}`, service);
  const forked = newEvent({ type: 'toka.run.forked.v1', data: { runId: id, at: 1 } }, `run/${id}`, service);
  for (const event of [byPerson, byNobody, forked]) {
    t.true(event.decision);
    t.true('event' in read(event, `toka.events.decision.${id}`));
    t.true('odd' in read(event, `toka.events.run.${id}`));
    const { decision: _, ...unmarked } = event;
    t.true('odd' in read(unmarked, `toka.events.run.${id}`));
    t.true('event' in read(unmarked, `toka.events.run.${id}`, 10), 'as versions before that rule wrote it');
  }
  const due = newEvent(queued, `run/${id}`, service);
  t.is(due.decision, undefined);
  t.true(
    'odd' in read({ ...due, decision: true }, `toka.events.decision.${id}`),
    'what is due by itself is no decision',
  );
});

test('the scheduler may cancel a run and end the time for an answer, and that is no decision of a person', (t) => {
  const over = { approvalId: 'apr_01KAR0000000000000000000AA', decision: 'expired', reason: null } as const;
  for (const draft of [
    { type: 'toka.run.cancelled.v1', data: { reason: 'x' } },
    { type: 'toka.run.approval-decided.v1', data: over },
  ] as Draft[]) {
    const event = newEvent(draft, `run/${id}`, service);
    t.is(event.decision, undefined);
    t.true('event' in read(event, `toka.events.run.${id}`));
  }
  const approved = newEvent(
    { type: 'toka.run.approval-decided.v1', data: { ...over, decision: 'approved' } },
    `run/${id}`,
    service,
  ) as TokaEvent;
  t.is(subjectOf(approved), `toka.events.decision.${id}`, 'an approval is a decision, whoever it says it is of');
});

test('filters of NATS match as the server matches, and a run is followed on both of its subjects', (t) => {
  t.deepEqual(filtersOf(`run/${id}`), [`toka.events.run.${id}`, `toka.events.decision.${id}`]);
  t.deepEqual(filtersOf('agent/*'), ['toka.events.agent.*']);
  for (const [filter, subject, expected] of [
    ['a.>', 'a.b', true],
    ['a.>', 'a.b.c', true],
    ['a.>', 'a', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a.b.c', false],
    ['a.*.c', 'a.b.c', true],
    ['a.b', 'a.b', true],
    ['a.b', 'a.c', false],
    ['a.b.c', 'a.b', false],
  ] as const)
    t.is(matches(filter, subject), expected, `${filter} ${subject}`);
});
