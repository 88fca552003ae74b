import { Failure } from '#shared/errors.ts';
import type { Answers, Found } from '../cache/answers.ts';

import { entryOf } from '../cache/entry.ts';
import type { How } from '../cache/wants.ts';
import type { AnyCall, Parts } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import type { RunFor } from './ask.ts';
import { ask, firstAble } from './ask.ts';
import { recordCall } from './record.ts';

/**
 * Answers a call: with a kept answer, with that of an equal call under way, or with a new one by the first of its targets that answers. All
 * calls come through here, and each of them is counted and is in the ledger once. Throws a Failure.
 */
export async function answerCall(parts: Parts, call: AnyCall): Promise<Found> {
  try {
    return await find(parts, call);
  } catch (thrown) {
    // What goes on at the provider for others who wait for it is recorded when it ends.
    if (!call.recorded && !call.reached) await recordCall(parts, call, thrown);
    throw thrown;
  }
}

async function find(parts: Parts, call: AnyCall): Promise<Found> {
  const { answers } = parts;
  const question = answers && call.cached();
  const near = question && answers.peek(question.key, question.how);
  if (near && call.tell(near)) return record(parts, call, near);
  // What nobody can answer is the client's mistake, and is told before anyone is asked.
  const first = firstAble(call.targets, call.prepare);
  const runFor: RunFor = (target) => (target === first.target ? first.run : call.prepare(target));
  if (question)
    return record(parts, call, await findOrMake(parts, call, answers, { ...question, first: first.target }, runFor));
  const made = await ask(parts, call, runFor, call.signal);
  return { ...entryOf(made), cache: call.cache, ageS: 0 };
}

type Asked = { key: string; how: How; first: Target };

async function findOrMake(
  parts: Parts,
  call: AnyCall,
  answers: Answers,
  { key, how, first }: Asked,
  runFor: RunFor,
): Promise<Found> {
  call.collect = true;
  call.cache = how.read ? 'miss' : 'bypass';
  const make = async (signal: AbortSignal) => {
    call.share?.();
    try {
      const made = await ask(parts, call, runFor, signal);
      // What only a fallback said is not what will be said once the model is back.
      return { ...made, keep: made.keep && call.target?.id === first.id };
    } finally {
      call.give?.();
    }
  };
  const get = () => answers.get(key, how, make, call.signal);
  const found = await get().catch((thrown: unknown) => {
    // Of an equal call of another run, which had gone on: it says nothing of this one.
    if (!call.reached && !call.recorded && thrown instanceof Failure && thrown.code === 'stale') return get();
    throw thrown;
  });
  if (call.recorded || call.tell(found)) return found;
  // What Redis holds may be anyone's: only what is an answer counts, and a new one takes its place.
  const anew = await answers.get(key, { ...how, read: false }, make, call.signal);
  return { ...anew, cache: 'miss' };
}

/** An answer that nobody was asked for is counted, and is in the ledger, too. */
async function record(parts: Parts, call: AnyCall, found: Found): Promise<Found> {
  if (call.recorded) return found;
  call.cache = found.cache;
  await recordCall(parts, call);
  return found;
}
