import test from 'ava';
import { foldRun } from '#shared/command.ts';
import type { Draft, Recorded, RunEvent } from '#shared/contracts/events.ts';
import { nextAction } from '#shared/domain/next-action.ts';
import type { Run } from '#shared/domain/run.ts';
import { decide } from '#shared/domain/run-commands.ts';
import { isParked } from '#shared/domain/run-work.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { dispatched, queued, recorded, started, step } from '#test/helpers/events.ts';
import { planOf } from '#test/helpers/plan.ts';
import type { Board } from '../../services/scheduler/board.ts';
import { apply, emptyBoard } from '../../services/scheduler/board.ts';

const limits = { maxSteps: 9, maxTokens: 1_000, maxCostUsd: null, timeoutS: 100_000, contextTokens: 1_000 };
const parent = 'run_01ARZ3NDEKTSV4RRFFQ69G5FAV';
const child = 'run_01ARZ3NDEKTSV4RRFFQ69G5FAW';
const approvalId = 'apr_01ARZ3NDEKTSV4RRFFQ69G5FAV';

const asked: Draft = {
  type: 'toka.run.approval-requested.v1',
  data: {
    id: approvalId,
    callId: 'a-1',
    kind: 'tool',
    tool: 'shell',
    capability: null,
    question: '?',
    schema: null,
    expiresAt: '2026-01-01T01:00:00.000Z',
  },
};
const decided = (decision: 'approved' | 'denied' | 'expired'): Draft => ({
  type: 'toka.run.approval-decided.v1',
  data: { approvalId, decision, reason: null },
});
const atWork = [queued, dispatched, started, step('a', 'shell')];

const given = (...drafts: Draft[]): Run => {
  const run = foldRun(recorded(`run/${parent}`, drafts) as Recorded<RunEvent>[]);
  if (!run) throw new Error('there is no run');
  return run;
};

test('a run that waits for a person holds no runner, and is due once it was decided', (t) => {
  const waits = given(...atWork, asked);
  t.like(waits, { status: 'waiting', runner: null, retryAt: null });
  t.true(isParked(waits));
  t.deepEqual(nextAction(waits, limits, 0), { do: 'stop' });
  const due = given(...atWork, asked, decided('approved'));
  t.false(isParked(due));
  t.truthy(due.retryAt);
  t.like(given(...atWork, asked, decided('approved'), dispatched, started), {
    status: 'running',
    pending: [{ tool: 'shell' }],
  });
});

test('an approval is decided once; a repetition changes nothing, another decision is refused', (t) => {
  const command = (decision: 'approved' | 'denied' | 'answered') =>
    ({ type: 'decide', decided: { approvalId, decision, reason: null } }) as const;
  t.is(decide(given(...atWork, asked), command('approved')).length, 1);
  t.throws(() => decide(given(...atWork, asked), command('answered')), { message: /approved or denied/ });
  const after = given(...atWork, asked, decided('approved'));
  t.deepEqual(decide(after, command('approved')), []);
  t.throws(() => decide(after, command('denied')), { message: /decided before/ });
  t.throws(() => decide(given(...atWork), command('approved')), { message: /no such approval/ });
});

test('a pause keeps what comes meanwhile; a run that waited for a person still does after it', (t) => {
  const paused: Draft = { type: 'toka.run.paused.v1', data: { reason: 'x' } };
  const resumed: Draft = { type: 'toka.run.resumed.v1', data: { reason: 'x' } };
  t.deepEqual(nextAction(given(...atWork, paused), limits, 0), { do: 'stop' });
  t.is(given(...atWork, paused, resumed).status, 'waiting');
  t.is(given(...atWork, asked, paused, resumed).retryAt, null);
  t.truthy(given(...atWork, asked, paused, decided('approved'), resumed).retryAt);
  t.is(given(queued, paused, resumed).status, 'queued');
});

test('a message reaches a model that would have been done, and may be refused while it is at work', (t) => {
  const said: Draft = { type: 'toka.run.message-received.v1', data: { text: 'x', mode: 'enqueue' } };
  t.truthy(given(...atWork, said).unreadMessage);
  t.is(given(...atWork, said, step('b')).unreadMessage, null);
  t.throws(() => decide(given(...atWork), { type: 'message', text: 'x', mode: 'reject' }), { message: /at work/ });
  t.is(decide(given(...atWork, asked), { type: 'message', text: 'x', mode: 'reject' }).length, 1);
});

test('calls that change nothing are made side by side, up to the first that does', (t) => {
  const run = given(queued, dispatched, started, step('a', 'read_file', 'list_files', 'shell', 'read_file'));
  const action = nextAction(run, limits, 0, (tool) => tool !== 'shell');
  t.deepEqual(action.do === 'tools' && action.calls.map(({ tool }) => tool), ['read_file', 'list_files']);
  t.is(nextAction(run, limits, 0).do, 'tool');
});

test('a conversation that is too long is compacted once, and then gone on with', (t) => {
  const small = { ...limits, contextTokens: 10 };
  const run = given(queued, dispatched, started, step('a'));
  t.deepEqual(nextAction(run, small, 0), { do: 'compact' });
  const after = given(queued, dispatched, started, step('a'), {
    type: 'toka.run.context-compacted.v1',
    data: { keptSteps: 4, summary: 'x', facts: null },
  });
  t.deepEqual(nextAction(after, small, 0), { do: 'model' });
});

/** A board with a run that has asked for another. */
function family(): Board {
  const board = emptyBoard();
  let seq = 0;
  const happen = (subject: string, ...drafts: Draft[]) => {
    for (const event of recorded(subject, drafts, seq + 1)) apply(board, event as Recorded);
    seq += drafts.length;
  };
  happen('agent/scout', { type: 'toka.agent.registered.v1', data: { spec: agentSpec(), origin: 'file' } });
  const data = queued.data as Extract<Draft, { type: 'toka.run.queued.v1' }>['data'];
  happen(
    `run/${parent}`,
    { type: 'toka.run.queued.v1', data: { ...data, trigger: 'api' } },
    dispatched,
    started,
    step('a', 'delegate'),
  );
  happen(`run/${child}`, {
    type: 'toka.run.queued.v1',
    data: { ...data, trigger: 'delegate', parent: { runId: parent, callId: 'a-1', depth: 1 } },
  });
  happen(`run/${parent}`, { type: 'toka.run.delegated.v1', data: { callId: 'a-1', runId: child, agentId: 'scout' } });
  return board;
}
const onBoard = (board: Board, subject: string, draft: Draft) => {
  for (const event of recorded(subject, [draft], 50)) apply(board, event as Recorded);
};
const soon = Date.UTC(2026, 0, 1, 0, 5);
const actionsOf = (board: Board) => planOf(board, soon).filter(({ do: what }) => what !== 'queue');

test('a child is dispatched although its parent is of the same agent, and its end is told to the parent, once', (t) => {
  const board = family();
  t.like(actionsOf(board), [{ do: 'dispatch', run: { id: child } }]);
  onBoard(board, `run/${child}`, { type: 'toka.run.failed.v1', data: { code: 'x', message: 'no luck' } });
  const [told] = actionsOf(board);
  t.like(told, {
    do: 'tell-parent',
    run: { id: parent },
    ended: { runId: child, status: 'failed', result: 'no luck' },
  });
  if (told?.do !== 'tell-parent') return;
  onBoard(board, `run/${parent}`, { type: 'toka.run.child-ended.v1', data: told.ended });
  t.like(actionsOf(board), [{ do: 'dispatch', run: { id: parent } }]);
  t.is(board.endedChildren.size, 0);
});

test('a child ends with its parent', (t) => {
  const board = family();
  onBoard(board, `run/${parent}`, { type: 'toka.run.cancelled.v1', data: { reason: 'x' } });
  t.like(actionsOf(board), [{ do: 'cancel', run: { id: child } }]);
});

test('what nobody decides runs out, with the default where there is one; its run does not time out meanwhile', (t) => {
  const board = emptyBoard();
  for (const event of recorded(
    'agent/scout',
    [{ type: 'toka.agent.registered.v1', data: { spec: agentSpec(), origin: 'file' } }],
    1,
  ))
    apply(board, event as Recorded);
  const question: Draft = { ...asked, data: { ...asked.data, kind: 'question', default: 7 } } as Draft;
  const data = { ...(queued.data as Extract<Draft, { type: 'toka.run.queued.v1' }>['data']), trigger: 'api' as const };
  for (const event of recorded(
    `run/${parent}`,
    [{ type: 'toka.run.queued.v1', data }, dispatched, started, step('a', 'ask_human'), question],
    2,
  ))
    apply(board, event as Recorded);
  const at = (minutes: number) =>
    planOf(board, Date.UTC(2026, 0, 1, 0, minutes), { workstreamTimeoutS: 60 }).filter(
      ({ do: what }) => what !== 'queue',
    );
  t.deepEqual(at(59), []);
  t.like(at(61), [{ do: 'expire', decided: { decision: 'expired', answer: 7 } }]);
});
