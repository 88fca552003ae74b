import test from 'ava';
import type { Draft, RunEvent } from '#shared/contracts/events.ts';
import { nextAction } from '#shared/domain/next-action.ts';
import { retryOrFail } from '#shared/domain/retry.ts';
import type { Run } from '#shared/domain/run.ts';
import { evolve, tookMsOf } from '#shared/domain/run.ts';
import { Failure } from '#shared/errors.ts';
import { createMetrics } from '#shared/metrics.ts';
import { dispatched, queued, recorded, started, step } from '#test/helpers/events.ts';
import { createBreakers } from '../../services/llm-proxy/failover/breakers.ts';

const beganMs = Date.UTC(2026, 0, 1);
const hourMs = 3_600_000;
/** As they are delivered. */
const policy = {
  max: { provider: 60, answer: 5, sandbox: 3, tool: 2, validation: 1 },
  backoffMs: 2_000,
  backoffMsMax: 120_000,
};
const limits = { maxSteps: 50, maxTokens: 1e6, maxCostUsd: null, timeoutS: 3_600, contextTokens: 1e6 };

/** A run of which each event happens when its clock says. */
function startRun() {
  let nowMs = beganMs;
  let seq = 0;
  let run: Run | undefined;
  const happen = (draft: Draft) => {
    seq += 1;
    const [event] = recorded('run/run_1', [draft], seq);
    run = evolve(run, { ...event, time: new Date(nowMs).toISOString() } as RunEvent & { seq: number });
  };
  for (const draft of [queued, dispatched, started]) happen(draft);
  return {
    happen,
    run: () => run as Run,
    nowMs: () => nowMs,
    /** Fails so, and is started anew when it may be. */
    fail(error: { code: string; message: string }, random: number, retryAfterMs?: number) {
      const draft = retryOrFail(run as Run, error, policy, { nowMs, random, retryAfterMs });
      happen(draft);
      if (draft.type !== 'toka.run.retry-scheduled.v1') return false;
      nowMs = Date.parse(draft.data.at);
      for (const each of [dispatched, started]) happen(each);
      return true;
    },
  };
}

for (const random of [0.25, 0.5, 0.75])
  test(`an outage of an hour is sat out, and takes nothing of the run’s own time (${random})`, (t) => {
    const { run, fail, nowMs, happen } = startRun();
    while (nowMs() < beganMs + hourMs)
      t.true(fail({ code: 'unavailable', message: 'the model is away' }, random), new Date(nowMs()).toISOString());
    t.is(nextAction(run(), limits, nowMs()).do, 'model');
    t.true(tookMsOf(run(), nowMs()) < 1_000);
    happen(step('a', 'read_file'));
    t.is(run().putBacks, 0);
  });

test('what a breaker held back, a rate limit and a spent budget count no try, and are asked about less and less often', (t) => {
  for (const code of ['held-back', 'limited', 'spent']) {
    const { run, fail, nowMs } = startRun();
    let times = 0;
    for (; nowMs() < beganMs + 10 * hourMs; times++) t.true(fail({ code, message: 'x' }, 0.5, 15_000), code);
    t.is(run().retries, 0, code);
    t.true(times < 420, `${times} times in ten hours`);
  }
});

test('what may have been paid for is tried again a few times, not for an hour', (t) => {
  const { run, fail } = startRun();
  let tries = 1;
  while (fail({ code: 'upstream', message: 'cut off' }, 0.5)) tries += 1;
  t.is(tries, 6);
  t.like(run(), { status: 'failed', error: { code: 'upstream', message: 'cut off (tried 6 times)' } });
});

test('an account that cannot pay ends a run at once, in the words of whoever said so', (t) => {
  const { run, fail } = startRun();
  t.false(fail({ code: 'unpaid', message: 'OpenAI answered 402; whoever runs this has to see to it' }, 0.5));
  t.like(run(), { status: 'failed', error: { code: 'unpaid' } });
});

test('the last real cause is in the retry that a breaker’s word leads to', (t) => {
  const breakers = createBreakers(createMetrics('llm-proxy', 'test', 10), () => 1_000);
  for (let each = 0; each < 10; each++) {
    const pass = breakers.of('a').enter();
    pass.fail(new Failure('unavailable', 'a answered 503: maintenance until noon'));
    pass.end();
  }
  const refusal = breakers.of('a').refusal();
  const { run, fail } = startRun();
  t.true(fail({ code: refusal?.code ?? '', message: refusal?.message ?? '' }, 0.5, refusal?.retryAfterMs));
  t.regex(run().error?.message ?? '', /held back for a while. The last time: a answered 503: maintenance until noon/);
});
