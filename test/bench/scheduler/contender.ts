/** Does nothing at all, but by way of a queue: added, started, completed. */
export type Contender = {
  /** Adds one; resolves once that is acknowledged. */
  add(id: string): Promise<unknown>;
  /** Called for each that was started, and for each that was completed. */
  on: { started: (id: string) => void; completed: (id: string) => void };
  /** Resolves once all that was done is archived, where that is part of it. */
  settled(): Promise<void>;
  pids: Record<string, number[]>;
  newId(): string;
  [Symbol.asyncDispose](): Promise<void>;
};

export type Shape = { workers: number; concurrency: number };
