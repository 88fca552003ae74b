/** One measurement: so many runs of so many turns, 50 at a time. */
export type Batch = { runs: number; turns: number; atOnce: number };

export type Measured = {
  seconds: number;
  runs: number;
  /** Results that are recorded for good before the next one is worked for. */
  turns: number;
  /** Whatever the log has taken in that time. */
  records: number | null;
  /** Processor milliseconds of each kind of process. */
  cpuMs: Record<string, number>;
};

/** Something that executes runs, opened for one round. */
export type Contender = { measure(batch: Batch): Promise<Measured>; [Symbol.asyncDispose](): Promise<void> };

/** Does `one` for each of `count` with `atOnce` of them at a time. */
export async function atATime(atOnce: number, count: number, one: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < count) await one(next++);
    }),
  );
}
