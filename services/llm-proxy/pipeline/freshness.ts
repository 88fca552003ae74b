import type { Bus } from '#shared/bus/bus.ts';
import type { ChatRequest } from '#shared/contracts/llm.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

const sureMs = 500;
const attemptsMax = 5;

type Log = Pick<Bus, 'lastSeq' | 'read'>;

/** Throws `stale` where the log has an event of the call's run that its asker does not know. */
export type CheckFresh = (request: Pick<ChatRequest, 'runId' | 'seen'>) => Promise<void>;

/**
 * Call it right before a model is asked: whoever asks may have been stopped since, or its call may have waited here, while another runner
 * took the run over and went on with it. What that has recorded is not paid for again.
 */
export function createCheckFresh(bus: Log, metrics: Metrics): CheckFresh {
  return async ({ runId, seen }) => {
    if (runId === undefined || seen === undefined) return;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const beganMs = performance.now();
      const last = await lastAfter(bus, runId, seen);
      if (last > seen) {
        metrics.llmStale.inc();
        const text = `the run ${runId} has gone on: its last event is ${last}, and ${seen} is what the caller knows`;
        throw new Failure('stale', text);
      }
      // This process may have been stopped meanwhile, too: then the answer is old. Where all is slow, the last one counts.
      if (performance.now() - beganMs < sureMs) return;
    }
  };
}

/** The sequence of the run's last event, where there is one after `seen`. */
async function lastAfter(bus: Log, runId: string, seen: number): Promise<number> {
  try {
    const last = await bus.lastSeq(entitySubject('run', runId));
    // None: all of it has left the stream.
    if (last > 0 && last <= seen) return seen;
    // What lies there may be no event that counts, of which no runner ever knows.
    return (await bus.read('run', runId, seen + 1)).at(-1)?.seq ?? seen;
  } catch (cause) {
    const text = "the log could not be read, which tells whether a run is still its caller's";
    throw new Failure('unavailable', text, { cause, retryAfterMs: 1_000 });
  }
}
