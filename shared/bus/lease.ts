import { setTimeout as delay } from 'node:timers/promises';
import type { Registers } from './registers.ts';

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

/** Tries for the lease `name` from now on; `changed` hears when it is won or lost. A value in `bucket` lives as long as a lease without renewal. */
export function openLease(bucket: Registers, name: string, holder: string, changed: () => void): Lease {
  const stop = new AbortController();
  let revision: number | undefined;
  let heldUntilMs = 0;
  let hasLapsed = false;
  const isHeld = () => revision !== undefined && performance.now() < heldUntilMs;
  const turn = async () => {
    const askedMs = performance.now();
    try {
      // Counted from before the question: the others count from when the server had it.
      const renewed = await bucket.write(name, holder, revision ?? (await freeRevision()));
      hasLapsed = revision !== undefined && !isHeld();
      revision = renewed;
      heldUntilMs = askedMs + leaseMs;
    } catch {
      // Somebody else has it, or NATS is away: in that case it lasts for as long as it lasts.
      const found = await bucket.read(name).catch(() => null);
      if (!isHeld() || (found && found.text !== holder)) revision = undefined;
    }
  };
  /** What a new holder replaces: nothing, or what another gave up. Throws where it is held. */
  const freeRevision = async () => {
    const found = await bucket.read(name);
    if (found && found.text !== '') throw new Error('it is held');
    return found?.revision ?? 0;
  };
  const trying = (async () => {
    let was = false;
    while (!stop.signal.aborted) {
      await turn();
      // Whoever asked between the end of the lease and its late renewal was told that it is lost, and has to be told that it is not.
      if (was !== isHeld() || hasLapsed) {
        was = isHeld();
        hasLapsed = false;
        changed();
      }
      await delay(renewMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    // An empty value says that nobody leads: it may be replaced at once.
    if (isHeld()) await bucket.write(name, '', revision).catch(() => undefined);
    revision = undefined;
  })();
  return {
    isHeld,
    holder: async () => (await bucket.read(name).catch(() => undefined))?.text || null,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await trying;
    },
  };
}
