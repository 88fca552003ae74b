import { Failure } from '#shared/errors.ts';

const retryAfterMs = 1_000;

/** What a body that is read has of the memory for all; disposing it gives that back. */
export type Room = {
  /** Takes so much more, before it is read. Throws `limited` where its caller has no more, `unavailable` where nobody has. */
  take(bytes: number): void;
  [Symbol.dispose](): void;
};

/** The memory for bodies of requests: `max` bytes, of which each caller has `callerMax` at most. */
export type BodyRoom = { open(caller: string): Room };

/** `changed` hears how many bytes are taken. */
export function createBodyRoom(max: number, callerMax: number, changed: (taken: number) => void): BodyRoom {
  const byCaller = new Map<string, number>();
  let taken = 0;
  const add = (caller: string, bytes: number) => {
    taken += bytes;
    const own = (byCaller.get(caller) ?? 0) + bytes;
    if (own === 0) byCaller.delete(caller);
    else byCaller.set(caller, own);
    changed(taken);
  };
  return {
    open(caller) {
      let held = 0;
      return {
        take(bytes) {
          if ((byCaller.get(caller) ?? 0) + bytes > callerMax)
            throw new Failure('limited', `bodies of yours take ${callerMax} bytes, which is as many as they may`, {
              retryAfterMs,
            });
          if (taken + bytes > max)
            throw new Failure('unavailable', `bodies of requests take ${max} bytes, which is as many as they may`, {
              retryAfterMs,
            });
          held += bytes;
          add(caller, bytes);
        },
        [Symbol.dispose]() {
          if (held > 0) add(caller, -held);
          held = 0;
        },
      };
    },
  };
}
