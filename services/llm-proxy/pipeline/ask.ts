import { Failure } from '#shared/errors.ts';
import type { Made } from '../cache/entry.ts';
import type { AnyCall, Parts, Run } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import { askModel } from './ask-model.ts';
import { recordCall } from './record.ts';

/** Throws where a target cannot answer such a call. */
export type RunFor = (target: Target) => Run;

/** One call to whichever target answers, and what it took into the ledger. */
export async function ask(parts: Parts, call: AnyCall, runFor: RunFor, signal: AbortSignal): Promise<Made> {
  const runs = new Map<Target, Run>();
  const inLedger = Promise.withResolvers<void>();
  const question = {
    ...call.asking,
    ...{ targets: call.targets, signal, recorded: inLedger.promise },
    cannot: (target: Target) => refusalOf(() => runs.set(target, runFor(target))),
  };
  try {
    const made = await askModel(parts.asker, question, (target, ended, marks) => {
      const run = runs.get(target) ?? runFor(target);
      call.target = target;
      call.reached = true;
      marks.reached();
      return run(ended, marks);
    });
    await recordCall(parts, call, call.told.failure, inLedger.resolve);
    return made;
  } catch (thrown) {
    await recordCall(parts, call, thrown, inLedger.resolve);
    throw thrown;
  }
}

/** Why a target cannot answer such a call, where that is so. Throws what is not about the target. */
function refusalOf(prepare: () => unknown): Failure | undefined {
  try {
    prepare();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === 'invalid') return thrown;
    throw thrown;
  }
}

/** The first target that can answer such a call, and what is to be done there. Throws what the first of all says where none can. */
export function firstAble(targets: readonly Target[], runFor: RunFor): { target: Target; run: Run } {
  let first: Failure | undefined;
  for (const target of targets) {
    let run: Run | undefined;
    const refusal = refusalOf(() => {
      run = runFor(target);
    });
    if (run) return { target, run };
    first ??= refusal;
  }
  throw first ?? new Failure('unavailable', 'there is nobody to ask');
}
