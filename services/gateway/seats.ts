import { Failure } from '#shared/errors.ts';

const retryAfterMs = 5_000;

/** Places for whoever keeps a connection open. */
export type Seats = {
  /** Takes a caller's place, and answers how to give it back. Throws `limited` where the caller has no more, `unavailable` where nobody has. */
  take(caller: string): () => void;
};

/** `max` places, of which each caller has `callerMax` at most. `changed` hears how many are taken. */
export function createSeats(max: number, callerMax: number, changed: (taken: number) => void): Seats {
  const byCaller = new Map<string, number>();
  let taken = 0;
  const add = (caller: string, change: 1 | -1) => {
    taken += change;
    const own = (byCaller.get(caller) ?? 0) + change;
    if (own === 0) byCaller.delete(caller);
    else byCaller.set(caller, own);
    changed(taken);
  };
  return {
    take(caller) {
      const own = byCaller.get(caller) ?? 0;
      if (own >= callerMax)
        throw new Failure('limited', `${own} event streams of yours are open, which is as many as you may have`, {
          retryAfterMs,
        });
      if (taken >= max)
        throw new Failure('unavailable', `${taken} event streams are open, which is as many as may be`, {
          retryAfterMs,
        });
      add(caller, 1);
      let isHeld = true;
      return () => {
        if (isHeld) add(caller, -1);
        isHeld = false;
      };
    },
  };
}
