import type { Made } from '../cache/entry.ts';
import type { AnyCall, Parts, Run } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import { askModel } from './ask-model.ts';
import { recordCall } from './record-call.ts';

/** Throws where a target cannot answer such a call. */
export type RunFor = (target: Target) => Run;

/** One call to whichever target answers, and what it took into the ledger. */
export async function ask(parts: Parts, call: AnyCall, runFor: RunFor, signal: AbortSignal): Promise<Made> {
  const question = { ...call.asking, targets: call.targets, signal };
  try {
    const made = await askModel(parts.asker, question, (target, ended, marks) => {
      const run = runFor(target);
      call.target = target;
      call.reached = true;
      marks.reached();
      return run(ended, marks);
    });
    await recordCall(parts, call, call.told.failure);
    return made;
  } catch (thrown) {
    await recordCall(parts, call, thrown);
    throw thrown;
  }
}
