import type { Made } from '../cache/entry.ts';
import type { Call, Parts } from './call.ts';
import { recordCall } from './record-call.ts';

/** Makes the call at its provider. */
export type Run = (signal: AbortSignal) => Promise<Made>;

/** One call to a provider: breaker, limits, the call itself, and what it took into the ledger. */
export async function ask(parts: Parts, call: Call, run: Run, signal: AbortSignal): Promise<Made> {
  try {
    const made = await call.target.breaker.run(async () => {
      for (const rule of call.key.rules) {
        if (rule.kind === 'requests') await parts.limit.admitKey(call.key.id, rule.limit, rule.windowMs);
      }
      await parts.limit.admit();
      signal.throwIfAborted();
      call.reached = true;
      return run(signal);
    });
    await recordCall(parts, call, call.told.failure);
    return made;
  } catch (thrown) {
    await recordCall(parts, call, thrown);
    throw thrown;
  }
}
