import { Worker } from 'node:worker_threads';
import { readAnswerSchema } from '#shared/answer-schema.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Verdict } from './answer-worker.ts';
import type { Caller } from './auth.ts';
import { refusalAt } from './input.ts';
import { createSeats } from './seats.ts';

const answerCharsMax = 20_000;
const checkMsMax = 1_000;
const startMsMax = 15_000;
/** Each is a thread. */
const seating = { max: 4, callerMax: 2, what: 'answers are being checked', retryAfterMs: 1_000 };
const memory = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16 };

type Schema = Record<string, unknown> | null;

/** Whether an answer is what was asked for. Throws `invalid` where it is not, or where that cannot be found out in a second. */
export type CheckAnswer = (caller: Pick<Caller, 'client'>, schema: Schema, answer: unknown) => Promise<void>;

/**
 * The schema came from a model, and some take years: so it is read in a thread of its own, which ends when its time is over, while this one goes
 * on with everything else.
 */
export function createCheckAnswer(): CheckAnswer {
  const seats = createSeats(seating);
  return async ({ client }, schema, answer) => {
    if ((JSON.stringify(answer) ?? '').length > answerCharsMax)
      throw refused([{ path: [], message: `must be at most ${answerCharsMax} characters` }]);
    if (schema === null) {
      const { error } = readAnswerSchema(null).safeParse(answer);
      if (error) throw refused(error.issues.map(({ message }) => ({ path: [], message })));
      return;
    }
    const free = seats.take(client);
    const verdict = await judge(schema, answer).finally(free);
    if (verdict.length > 0) throw refused(verdict);
  };
}

const refused = (verdict: Verdict) =>
  refusalAt(
    verdict.map(({ path, message }) => ({ path: ['answer', ...path], message })),
    'the body',
  );

async function judge(schema: Schema, answer: unknown): Promise<Verdict> {
  const worker = new Worker(new URL('./answer-worker.ts', import.meta.url), {
    workerData: { schema, answer },
    resourceLimits: memory,
    env: {},
  });
  const { promise, resolve, reject } = Promise.withResolvers<Verdict>();
  const late = () => reject(costly(`takes longer than ${checkMsMax / 1000} s`));
  let timer = setTimeout(() => reject(new Failure('timeout', 'the answer could not be checked in time')), startMsMax);
  worker.on('message', (told: 'ready' | Verdict) => {
    if (told !== 'ready') return resolve(told);
    clearTimeout(timer);
    timer = setTimeout(late, checkMsMax);
    worker.postMessage('go');
  });
  worker.once('error', (error) => reject(costly(`fails: ${messageOf(error)}`)));
  worker.once('exit', () => reject(costly('ended without a word')));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}

const costly = (what: string) =>
  refusalAt(
    [
      {
        path: ['answer'],
        message: `cannot be checked: the schema that the agent asks with ${what}; deny it, and say why`,
      },
    ],
    'the body',
  );
