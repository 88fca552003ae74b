/** Answers to equal questions that are being found or made, with everyone who waits for them. */
export type Flights<Caller, Landed> = {
  /**
   * Joins the flight of a key, or begins it with `run`. Rejects when `signal` is aborted; the flight's own signal is aborted when
   * nobody waits any more.
   */
  join(
    key: string,
    caller: Caller,
    run: (flight: Flight<Caller>) => Promise<Landed>,
    signal: AbortSignal,
  ): Promise<Landed>;
  /** Aborts all that is under way. */
  abort(reason: unknown): void;
};

export type Flight<Caller> = {
  /** Those who wait, in the order in which they came. */
  callers: ReadonlySet<Caller>;
  signal: AbortSignal;
};

type Open<Caller, Landed> = {
  callers: Set<Caller>;
  over: AbortController;
  landed: Promise<Landed>;
};

/** One flight for each key at a time. */
export function createFlights<Caller, Landed>(): Flights<Caller, Landed> {
  const flights = new Map<string, Open<Caller, Landed>>();
  const begin = (key: string, caller: Caller, run: (flight: Flight<Caller>) => Promise<Landed>) => {
    const over = new AbortController();
    const callers = new Set([caller]);
    const landed = run({ callers, signal: over.signal }).finally(() => {
      if (flights.get(key) === flight) flights.delete(key);
    });
    // Everyone may have left before it fails.
    landed.catch(() => undefined);
    const flight = { callers, over, landed };
    flights.set(key, flight);
    return flight;
  };
  return {
    async join(key, caller, run, signal) {
      signal.throwIfAborted();
      const flight = flights.get(key) ?? begin(key, caller, run);
      flight.callers.add(caller);
      try {
        return await orLeave(flight.landed, signal);
      } finally {
        flight.callers.delete(caller);
        if (flight.callers.size === 0 && flights.get(key) === flight) {
          flights.delete(key);
          flight.over.abort(signal.reason);
        }
      }
    },
    abort(reason) {
      for (const { over } of flights.values()) over.abort(reason);
    },
  };
}

function orLeave<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    const stay = () => signal.removeEventListener('abort', leave);
    signal.addEventListener('abort', leave, { once: true });
    promise.then(
      (value) => {
        stay();
        resolve(value);
      },
      (error: unknown) => {
        stay();
        reject(error);
      },
    );
  });
}
