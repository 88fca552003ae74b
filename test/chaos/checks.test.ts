import { createHash } from 'node:crypto';
import test from 'ava';
import type { Recorded } from '#shared/contracts/events.ts';
import { archiveIsStream, chainHolds, logIsKept } from './checks/archive.ts';
import { askedOnce, fullest, limitHolds } from './checks/calls.ts';
import type { Evidence, Message } from './checks/evidence.ts';
import { memoryIsBack, noBugsLogged, nothingIsLeft } from './checks/leftovers.ts';
import {
  allEnded,
  doneOnce,
  endedWell,
  endsOnce,
  onlyItsRunnerWrites,
  queuedOnce,
  takenFromHarmed,
  toolsOnce,
} from './checks/runs.ts';
import { describe } from './model.ts';
import type { Call } from './network-client.ts';

type Line = [type: string, data?: Record<string, unknown>, source?: string];

/** A run's events, one each second. */
function log(lines: readonly Line[], { mark = 'w-1', run = 'run/run_1' } = {}): Message[] {
  const queued: Line = ['queued', { work: { description: describe(mark, 'files') } }, 'scheduler/scheduler-1-1'];
  return [queued, ...lines].map(([type, data = {}, source = 'agent-runner/agent-runner-1-1'], index) => {
    const seq = index + 1;
    const event = { seq, type: `toka.run.${type}.v1`, subject: run, source: `/toka/${source}`, data };
    const bytes = Buffer.from(JSON.stringify(event));
    return { seq, timeMs: seq * 1_000, bytes, event: event as unknown as Recorded };
  });
}

const started = (runner = 'agent-runner-1-1'): Line => ['started', { runner }, `agent-runner/${runner}`];
const step: Line = ['step-completed'];
const completed: Line = ['completed', { result: 'done' }];
const whole = log([started(), step, ['tool-called', { callId: 'c' }], ['tool-returned', { callId: 'c' }], completed]);
const evidence = (messages: readonly Message[], rest: Partial<Evidence> = {}): Evidence => ({
  ...{ messages, items: [], calls: [], incidents: [] },
  ...rest,
});
const item = { mark: 'w-1', agent: 'a', acceptedMs: 1, refusal: '' };
const late = { lateMs: 500, senders: new Map([[1, 'llm-proxy-1']]) };
const call = (atMs: number, turns = 0): Call => ({ atMs, via: 1, mark: 'w-1', turns, forced: null });

test('a run as it should be passes every check', (t) => {
  t.deepEqual(
    [endsOnce, queuedOnce, endedWell, onlyItsRunnerWrites, toolsOnce, doneOnce].flatMap((check) => check(whole)),
    [],
  );
  t.deepEqual(allEnded(whole, [item]), []);
  t.deepEqual(takenFromHarmed(evidence(whole), 4_000), []);
  t.deepEqual(askedOnce(evidence(whole, { calls: [call(2_500)] }), late), []);
});

test('a run that ends twice, or goes on after its end, is found', (t) => {
  t.is(endsOnce(log([started(), completed, completed])).length, 1);
  t.is(endsOnce(log([started(), completed, step])).length, 1);
  t.deepEqual(endsOnce(log([started(), completed, ['forked']])), []);
});

test('a work that was queued twice, was lost, is open or was never taken is found', (t) => {
  t.is(queuedOnce([...whole, ...log([], { run: 'run/run_2' })]).length, 1);
  t.regex(allEnded([], [item])[0]?.text ?? '', /no run was queued/);
  t.regex(allEnded(log([started()]), [item])[0]?.text ?? '', /has not ended/);
  t.regex(allEnded(whole, [{ ...item, acceptedMs: undefined, refusal: '503' }])[0]?.text ?? '', /never taken: 503/);
});

test('a run that failed, and work that was done twice, are found', (t) => {
  t.regex(endedWell(log([['failed', { code: 'internal', message: 'x' }]]))[0]?.text ?? '', /internal: x/);
  t.deepEqual(endedWell(log([['failed', { code: 'poison', message: 'three runners' }]])), []);
  t.is(doneOnce(log([['validated', { command: { exitCode: 1, output: '' } }]])).length, 1);
});

test('an event of a runner that no longer has the run is found', (t) => {
  const messages = log([started(), started('agent-runner-2-1'), step]);
  t.regex(onlyItsRunnerWrites(messages)[0]?.text ?? '', /is of agent-runner-1-1, and agent-runner-2-1 had the run/);
});

test('a call with two results, or two beginnings, is found', (t) => {
  const [called, returned]: Line[] = [
    ['tool-called', { callId: 'c' }],
    ['tool-returned', { callId: 'c' }],
  ];
  t.is(toolsOnce(log([called as Line, called as Line, returned as Line])).length, 1);
  t.is(toolsOnce(log([called as Line, returned as Line, ['deliverable-submitted', { callId: 'c' }]])).length, 1);
});

test('a run that is taken from a runner to which nothing was done is found', (t) => {
  const messages = log([started(), started('agent-runner-2-1')]);
  t.is(takenFromHarmed(evidence(messages), 4_000).length, 1);
  for (const on of ['agent-runner-1', 'agent-runner-1 > nats', 'nats', 'machine'])
    t.deepEqual(
      takenFromHarmed(evidence(messages, { incidents: [{ on, what: 'stop', fromMs: 2_100, untilMs: 2_900 }] }), 4_000),
      [],
    );
  const elsewhere = [{ on: 'agent-runner-3', what: 'stop', fromMs: 2_100, untilMs: 2_900 }];
  t.is(takenFromHarmed(evidence(messages, { incidents: elsewhere }), 4_000).length, 1);
  t.deepEqual(takenFromHarmed(evidence(log([started(), ['dispatched'], started('agent-runner-2-1')])), 4_000), []);
});

test('a run may be taken long after its runner was silent for a lease, and not where it never was', (t) => {
  const steps = Array.from({ length: 12 }, () => step);
  const messages = log([started(), ...steps, started('agent-runner-2-1')]);
  const found = (what: string, forMs: number, fromMs = 2_500) => {
    const incidents = [{ on: 'agent-runner-1', what, fromMs, untilMs: fromMs + forMs }];
    return takenFromHarmed(evidence(messages, { incidents }), 4_000).length;
  };
  t.is(found('stop', 3_000), 0);
  t.is(found('stop', 2_000), 1, 'too short for its lease');
  t.is(found('clock', 3_000), 1, 'that costs no lease');
  t.is(found('stop', 3_000, -2_000), 1, 'before it had the run');
});

test('an answer that is asked for after it was recorded is found, and one that was never asked', (t) => {
  t.deepEqual(askedOnce(evidence(whole, { calls: [call(2_500), call(3_400)] }), late), [], 'it was on its way');
  const [found] = askedOnce(evidence(whole, { calls: [call(2_500), call(3_600)] }), late);
  t.regex(found?.text ?? '', /turn 1 was recorded as 3, and asked again 600 ms later by llm-proxy-1/);
  t.is(askedOnce(evidence(whole), late)[0]?.check, 'recorded answers were asked');
});

test('a window with more requests than the limit is found, wherever it lies', (t) => {
  const calls = [-1_000, 5_000, 9_000, 9_100, 12_000, 30_000].map((atMs) => call(atMs));
  t.deepEqual(fullest(calls, 10_000), { count: 4, untilMs: 12_000 });
  const limit = { requests: 3, windowMs: 10_000, lateMs: 400, senders: late.senders };
  t.deepEqual(limitHolds(evidence([], { calls }), { ...limit, requests: 4 }), []);
  t.is(limitHolds(evidence([], { calls }), limit).length, 1);
});

test('requests that came together are excused where the machine held them up, or their sender was without Redis', (t) => {
  const calls = [1_000, 1_100, 1_200, 9_000, 9_100, 9_200].map((atMs) => call(atMs));
  const limit = { requests: 3, windowMs: 7_000, lateMs: 400, senders: new Map([...late.senders, [2, 'llm-proxy-2']]) };
  const found = (incidents: Evidence['incidents']) => limitHolds(evidence([], { calls, incidents }), limit).length;
  const incident = (on: string, what: string, fromMs: number, untilMs: number) => ({ on, what, fromMs, untilMs });
  calls.push(...[15_000, 15_100, 15_200].map((atMs) => call(atMs)));
  t.is(found([]), 1);
  const stall = incident('llm-proxy-1', 'busy', 1_500, 9_000);
  t.is(found([stall]), 0, 'the second three may have been sent before');
  t.is(found([stall, incident('llm-proxy-1', 'stop', 1_500, 9_000)]), 1, 'what was stopped had to ask again');
  t.is(found([incident('llm-proxy-2', 'busy', 1_500, 9_000)]), 1, 'another was held up');
  t.is(found([incident('llm-proxy-2 > redis', 'cut', 9_000, 9_500)]), 1, 'its share is one, and there are three more');
  t.is(found([incident('llm-proxy-2 > provider', 'cut', 9_000, 9_500)]), 1);
});

test('an archive that lacks an event, has another one, or is behind is found; and a broken chain', (t) => {
  let before: Uint8Array = new Uint8Array(32);
  const rows = whole.map(({ seq, bytes }) => {
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(seq));
    before = createHash('sha256').update(before).update(place).update(bytes).digest();
    return { seq, bytes, hash: before };
  });
  t.deepEqual([...archiveIsStream('store-1', rows, whole, 6), ...chainHolds('store-1', rows)], []);
  const lacking = rows.toSpliced(2, 1);
  t.regex(archiveIsStream('store-1', lacking, whole)[0]?.text ?? '', /after 2 events comes 4, in the stream 3/);
  const other = rows.with(1, { ...(rows[1] as (typeof rows)[0]), bytes: Buffer.from('{}') });
  t.regex(archiveIsStream('store-1', other, whole)[0]?.text ?? '', /event 2 is not what it is/);
  t.regex(archiveIsStream('store-1', rows.slice(0, 3), whole, 6)[0]?.text ?? '', /holds 3 events, the stream 6/);
  t.regex(chainHolds('store-1', other)[0]?.text ?? '', /broken at 2/);
});

test('a log that has lost or changed an event, or holds what is none, is found', (t) => {
  t.deepEqual(logIsKept(whole.slice(0, 3), whole), []);
  t.is(logIsKept(whole, whole.slice(0, 3)).length, 1);
  t.is(logIsKept(whole, whole.with(1, { ...(whole[1] as Message), bytes: Buffer.from('{}') })).length, 1);
  t.is(logIsKept([], whole.with(1, { ...(whole[1] as Message), event: undefined })).length, 1);
});

test('what is left over, memory that does not come back, and bugs in a log are found', (t) => {
  const left = { processes: [{ name: 'bwrap', pid: 7 }], files: ['/tmp/x'], tasks: ['run_1'] };
  t.is(nothingIsLeft(left).length, 3);
  const memory = (heapUsed: number) =>
    new Map([['store-1', { pid: 1, heapUsed: heapUsed * 1024 ** 2, external: 0, rss: 0 }]]);
  t.deepEqual(memoryIsBack(memory(40), memory(90)), []);
  t.is(memoryIsBack(memory(40), memory(140)).length, 1);
  t.is(noBugsLogged('store-1', '{"msg":"fine"}\n{"msg":"a bug: it broke"}\n').length, 1);
});
