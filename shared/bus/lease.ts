import { setTimeout as delay } from 'node:timers/promises';
import type { JetStreamClient, KV } from 'nats';
import { leasesBucket } from '#shared/contracts/subjects.ts';

/** How long who led is waited for after its last sign of life, in milliseconds. */
export const leaseMs = 1_500;
const renewMs = 400;

/** One of several instances leads. It is no fence: a leader that was stopped may wake and still believe, so what it does must be refused by the log. */
export type Lease = {
  /** Whether this instance leads, as far as it can know. */
  isHeld(): boolean;
  /** Who leads; null where nobody does, or it cannot be asked. */
  holder(): Promise<string | null>;
  /** Gives it up, so that another need not wait. */
  [Symbol.asyncDispose](): Promise<void>;
};

/** Tries for the lease `name` from now on; `changed` hears when it is won or lost. */
export function openLease(js: JetStreamClient, name: string, holder: string, changed: () => void): Lease {
  const stop = new AbortController();
  let revision: number | undefined;
  let heldUntilMs = 0;
  const isHeld = () => revision !== undefined && performance.now() < heldUntilMs;
  const turn = async (bucket: KV) => {
    const askedMs = performance.now();
    try {
      // Counted from before the question: the others count from when the server had it.
      revision =
        revision === undefined ? await bucket.create(name, holder) : await bucket.update(name, holder, revision);
      heldUntilMs = askedMs + leaseMs;
    } catch {
      // Somebody else has it, or NATS is away: in that case it lasts for as long as it lasts.
      const holds = await holderOf(bucket, name);
      if (!isHeld() || (holds !== null && holds !== holder)) revision = undefined;
    }
  };
  let bucket: KV | undefined;
  const trying = (async () => {
    let was = false;
    while (!stop.signal.aborted) {
      bucket ??= await js.views.kv(leasesBucket, { bindOnly: true }).catch(() => undefined);
      if (bucket) await turn(bucket);
      if (was !== isHeld()) {
        was = !was;
        changed();
      }
      await delay(renewMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    if (isHeld() && bucket) await bucket.purge(name).catch(() => undefined);
    revision = undefined;
  })();
  return {
    isHeld,
    holder: async () => (bucket ? holderOf(bucket, name) : null),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await trying;
    },
  };
}

const holderOf = async (bucket: KV, name: string): Promise<string | null> => {
  const found = await bucket.get(name).catch(() => null);
  return found?.operation === 'PUT' ? found.string() : null;
};
