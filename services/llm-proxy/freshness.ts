import type { Bus } from '#shared/bus/bus.ts';
import type { ChatRequest } from '#shared/contracts/llm.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

const sureMs = 500;
const attemptsMax = 5;

/** Throws `stale` where the log has an event of the call's run that its asker does not know. */
export type CheckFresh = (request: Pick<ChatRequest, 'runId' | 'seen'>) => Promise<void>;

/**
 * Call it right before a model is asked: whoever asks may have been stopped since, or its call may have waited here, while another runner
 * took the run over and went on with it. What that has recorded is not paid for again.
 */
export function createCheckFresh(bus: Pick<Bus, 'lastSeq'>, metrics: Metrics): CheckFresh {
  return async ({ runId, seen }) => {
    if (runId === undefined || seen === undefined) return;
    for (let attempt = 1; ; attempt++) {
      const beganMs = performance.now();
      const last = await lastOf(bus, runId);
      if (last > seen) {
        metrics.llmStale.inc();
        throw new Failure(
          'stale',
          `the run ${runId} has gone on: its last event is ${last}, and ${seen} is what the caller knows`,
        );
      }
      // This process may have been stopped meanwhile, too: then the answer is old.
      if (performance.now() - beganMs < sureMs) return;
      if (attempt === attemptsMax)
        throw new Failure('unavailable', "the log answers too late to be sure that a run is the caller's", {
          retryAfterMs: 1_000,
        });
    }
  };
}

async function lastOf(bus: Pick<Bus, 'lastSeq'>, runId: string): Promise<number> {
  try {
    return await bus.lastSeq(entitySubject('run', runId));
  } catch (cause) {
    throw new Failure('unavailable', "the log could not be read, which tells whether a run is still its caller's", {
      cause,
      retryAfterMs: 1_000,
    });
  }
}
