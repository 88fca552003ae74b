import { Failure } from '#shared/errors.ts';

/** Places for what takes long. */
export type Seats = {
  /** Takes a caller's place, and answers how to give it back. Throws `limited` where the caller has no more, `unavailable` where nobody has. */
  take(caller: string): () => void;
};

type SeatOptions = {
  max: number;
  /** Of these, for each caller. */
  callerMax: number;
  /** What takes them, for people: "event streams are open". */
  what: string;
  retryAfterMs: number;
  /** Hears how many are taken. */
  changed?: (taken: number) => void;
};

export function createSeats({ max, callerMax, what, retryAfterMs, changed }: SeatOptions): Seats {
  const byCaller = new Map<string, number>();
  let taken = 0;
  const add = (caller: string, change: 1 | -1) => {
    taken += change;
    const own = (byCaller.get(caller) ?? 0) + change;
    if (own === 0) byCaller.delete(caller);
    else byCaller.set(caller, own);
    changed?.(taken);
  };
  return {
    take(caller) {
      const own = byCaller.get(caller) ?? 0;
      if (own >= callerMax)
        throw new Failure('limited', `${own} ${what} for you, which is as many as may be`, {
          retryAfterMs,
        });
      if (taken >= max)
        throw new Failure('unavailable', `${taken} ${what}, which is as many as may be`, {
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
