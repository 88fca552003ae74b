import test from 'ava';
import { foldRun } from '#shared/command.ts';
import type { Draft, RunEvent } from '#shared/contracts/events.ts';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import type { Said } from '#shared/domain/conversation.ts';
import { conversation, ordered } from '#shared/domain/conversation.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import { nextAction } from '#shared/domain/next-action.ts';
import { retryOrFail } from '#shared/domain/retry.ts';
import type { Run } from '#shared/domain/run.ts';
import { decide } from '#shared/domain/run-commands.ts';
import {
  dispatched,
  facts,
  judged,
  queued,
  recorded,
  returned,
  started,
  step,
  submitted,
} from '#test/helpers/events.ts';

const given = (...drafts: Draft[]): Run => {
  const run = foldRun(recorded('run/run_1', [queued, ...drafts]));
  if (!run) throw new Error('no run');
  return run;
};
const limits: RunLimits = { maxSteps: 5, maxTokens: 1_000, maxCostUsd: null, timeoutS: 100, contextTokens: 100_000 };
const now = Date.UTC(2026, 0, 1) + 10_000;
const next = (run: Run, changes: Partial<RunLimits> = {}) => nextAction(run, { ...limits, ...changes }, now);
const failsWith = (run: Run, changes: Partial<RunLimits> = {}) => {
  const action = next(run, changes);
  return action.do === 'fail' ? action.error.code : action.do;
};

test('a run that was just started asks the model', (t) => {
  t.deepEqual(next(given(dispatched, started)), { do: 'model' });
});

test('tool calls are done in order, and one that was begun is known as begun', (t) => {
  const asked = given(started, step('a', 'read_file', 'list_files'));
  t.deepEqual(next(asked), { do: 'tool', call: { callId: 'a-1', tool: 'read_file', begun: false } });
  const begun = given(started, step('a', 'read_file'), {
    type: 'toka.run.tool-called.v1',
    data: { callId: 'a-1', tool: 'read_file' },
  });
  t.deepEqual(next(begun), { do: 'tool', call: { callId: 'a-1', tool: 'read_file', begun: true } });
  const one = given(started, step('a', 'read_file', 'list_files'), returned('a-1'));
  t.deepEqual(next(one), { do: 'tool', call: { callId: 'a-2', tool: 'list_files', begun: false } });
  t.deepEqual(next(given(started, step('a', 'read_file'), returned('a-1'))), { do: 'model' });
});

test('a deliverable is judged once, completes the run when it passes, and goes back to the model when it fails', (t) => {
  const handedIn = [started, step('a', 'submit_deliverable'), submitted('a-1')];
  t.deepEqual(next(given(...handedIn)), { do: 'validate' });
  t.deepEqual(next(given(...handedIn, judged(true))), { do: 'complete', result: 'done' });
  const refused = given(...handedIn, judged(false, 'too short'));
  t.deepEqual(next(refused), { do: 'model' });
  const again = given(...handedIn, judged(false, 'too short'), step('b', 'submit_deliverable'), submitted('b-1'));
  t.deepEqual(next(again), { do: 'validate' });
  t.deepEqual(
    next(given(...handedIn, judged(false), step('b', 'read_file'), returned('b-1'))),
    { do: 'model' },
    'the refused one is not judged again',
  );
});

test('a deliverable that is refused three times fails the run with the last reasons', (t) => {
  const round = (name: string) => [
    step(name, 'submit_deliverable'),
    submitted(`${name}-1`),
    judged(false, `no ${name}`),
  ];
  const action = next(given(started, ...round('a'), ...round('b'), ...round('c')));
  t.deepEqual(action, {
    do: 'fail',
    error: { code: 'validation-failed', message: 'the deliverable was refused 3 times. no c' },
  });
});

test('limits end a run: steps, tokens, cost, time', (t) => {
  const steps = ['a', 'b', 'c', 'd', 'e'].flatMap((name) => [step(name, 'read_file'), returned(`${name}-1`)]);
  t.is(failsWith(given(started, ...steps)), 'step-limit');
  t.is(failsWith(given(started, step('a', 'read_file')), { maxTokens: 15 }), 'token-limit');
  t.is(failsWith(given(started, step('a', 'read_file')), { maxCostUsd: 0.5 }), 'cost-limit');
  t.is(failsWith(given(started, step('a', 'read_file')), { maxCostUsd: 0.51 }), 'tool');
  t.is(failsWith(given(started), { timeoutS: 1, contextTokens: 100_000 }), 'timeout');
});

test('a cost limit does not hold for a model without a price, so the run fails rather than spends', (t) => {
  const unpriced = given(started, {
    type: 'toka.run.validated.v1',
    data: { pass: false, reasons: [], facts: { ...facts, costUsd: null } },
  });
  t.is(failsWith(unpriced, { maxCostUsd: 1 }), 'cost-unknown');
});

test('a model that only talks is told to go on, and fails the run when it keeps talking', (t) => {
  t.is(failsWith(given(started, step('a'))), 'model');
  t.is(failsWith(given(started, step('a'), step('b'), step('c'))), 'no-deliverable');
});

test('a run that kills its runner again and again without progress is poison', (t) => {
  t.is(failsWith(given(started, started, started)), 'model');
  t.is(failsWith(given(started, started, started, started)), 'poison');
  t.is(failsWith(given(started, started, started, step('a', 'read_file'), started)), 'tool', 'progress clears it');
  const error = { code: 'unavailable', message: 'the model is away' };
  const putBack: Draft = { type: 'toka.run.retry-scheduled.v1', data: { ...error, at: new Date(now).toISOString() } };
  t.is(
    failsWith(given(started, putBack, started, putBack, started, putBack, started)),
    'model',
    'so does a fault that was recorded',
  );
});

test('a run that is handed back keeps its retries, and stays paused where a person has paused it', (t) => {
  const data = { code: 'handed-back', message: 'its runner r1 was stopped', at: new Date(now).toISOString() };
  const back: Draft = { type: 'toka.run.retry-scheduled.v1', data };
  t.like(given(started, back), { status: 'waiting', retries: 0, startsWithoutProgress: 0, retryAt: data.at });
  t.is(given(started, { type: 'toka.run.paused.v1', data: { reason: 'x' } }, back)?.status, 'paused');
});

test('an ended run takes no command, and a second cancel changes nothing', (t) => {
  const cancelled = given(started, { type: 'toka.run.cancelled.v1', data: { reason: 'enough' } });
  t.deepEqual(next(cancelled), { do: 'stop' });
  t.deepEqual(decide(cancelled, { type: 'cancel', reason: 'again' }), []);
  t.throws(() => decide(cancelled, { type: 'dispatch', reason: 'x' }), {
    message: 'the run has already ended: cancelled',
  });
  t.throws(() => decide(undefined, { type: 'cancel', reason: 'x' }), { message: 'there is no such run' });
});

test('retries back off to a ceiling, respect a floor, and come to an end', (t) => {
  const max = { provider: 2, sandbox: 1, tool: 0, validation: 1 };
  const policy = { max, backoffMs: 1_000, backoffMsMax: 3_000 };
  const error = { code: 'unavailable', message: 'the model is away' };
  const at = (run: Run, random: number, retryAfterMs?: number) => {
    const draft = retryOrFail(run, error, policy, { nowMs: now, random, retryAfterMs });
    return draft.type === 'toka.run.retry-scheduled.v1' ? Date.parse(draft.data.at) - now : draft.type;
  };
  const again: Draft = { type: 'toka.run.retry-scheduled.v1', data: { ...error, at: new Date(now).toISOString() } };
  const limited: Draft = {
    type: 'toka.run.retry-scheduled.v1',
    data: { ...error, code: 'limited', at: new Date(now).toISOString() },
  };
  t.is(at(given(started), 0), 500);
  t.is(at(given(started), 0.999), 1_000);
  t.is(at(given(started, again), 0.999), 1_999);
  t.is(at(given(started), 0, 9_000), 9_000);
  t.is(at(given(started, again, again), 0), 'toka.run.failed.v1');
  t.is(at(given(started, limited, limited, limited), 0), 500, 'a rate limit is no fault of the run');
});

test('the conversation holds each answer, result and refusal in order', (t) => {
  const events = recorded('run/run_1', [
    started,
    step('a', 'read_file'),
    returned('a-1'),
    step('b'),
    step('c', 'submit_deliverable'),
    submitted('c-1'),
    judged(false, 'too short'),
  ]);
  const messages = events.reduce<readonly ChatMessage[]>(
    (all, event) => conversation(all, event as RunEvent & { seq: number }),
    [],
  );
  t.deepEqual(
    messages.map((message) => [message.role, message.text.split('\n')[0]]),
    [
      ['assistant', 'a'],
      ['tool', 'hello'],
      ['assistant', 'b'],
      [
        'user',
        'You have not handed in the deliverable yet. Go on with the work, and call submit_deliverable when it is done.',
      ],
      ['assistant', 'c'],
      ['tool', 'Submitted "inventory.md". It will now be checked.'],
      ['user', 'The deliverable was refused:'],
    ],
  );
});

test('what a model had before it stays what it was: notes where they were said, and later words behind its answer', (t) => {
  const message = (text: string): Draft => ({ type: 'toka.run.message-received.v1', data: { text, mode: 'enqueue' } });
  const spoke = (text: string, tool: string, more: object): Draft => {
    const { type, data } = step(text, tool) as Draft<'toka.run.step-completed.v1'>;
    return { type, data: { ...data, ...more } };
  };
  const fold = (...drafts: Draft[]) =>
    ordered(
      recorded('run/run_1', drafts).reduce<readonly Said[]>(
        (all, event) => conversation(all, event as RunEvent & { seq: number }),
        [],
      ),
    ).map(({ role, text }) => (role === 'user' ? text : role));
  // The sequences count from one.
  const events: Draft[] = [
    message('first'), // 1
    spoke('a', 'read_file', { heard: 1, notes: ['[Hurry.]'] }), // 2
    message('between'), // 3
    returned('a-1'), // 4
    message('during'), // 5
    spoke('b', 'read_file', { heard: 3 }), // 6
    returned('b-1'), // 7
  ];
  const all = ['first', '[Hurry.]', 'assistant', 'tool', 'between', 'assistant', 'tool', 'during'];
  t.deepEqual(fold(...events), all);
  for (const [count, prompt] of [
    [1, 1],
    [4, 5],
    [7, 8],
  ] as const)
    t.deepEqual(fold(...events.slice(0, count)), all.slice(0, prompt), 'each prompt begins with the one before it');
  const older = events.map((draft) => {
    if (draft.type !== 'toka.run.step-completed.v1') return draft;
    const { heard: _, notes: __, ...data } = draft.data;
    return { ...draft, data };
  });
  t.deepEqual(fold(...older), ['first', 'assistant', 'tool', 'between', 'during', 'assistant', 'tool']);
});

test('an answer that did not know what a person said is not the last', (t) => {
  const said: Draft = { type: 'toka.run.message-received.v1', data: { text: 'And this.', mode: 'enqueue' } };
  const { type, data } = step('Done.') as Draft<'toka.run.step-completed.v1'>;
  const open = started;
  const unread = given(open, said, { type, data: { ...data, heard: 0 } });
  t.true((unread?.unreadMessage ?? 0) > 0);
  t.is(given(open, said, { type, data: { ...data, heard: unread?.unreadMessage ?? 0 } })?.unreadMessage, null);
  t.is(given(open, said, { type, data })?.unreadMessage, null, 'as it was before');
});
