/** Every code that a caller can act on, with the HTTP status it becomes. */
export const statusOf = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  'not-allowed': 405,
  timeout: 504,
  /** The request did not come in whole, or not in time. */
  incomplete: 408,
  conflict: 409,
  /** It was there, and is no longer kept. */
  gone: 410,
  'context-missing': 409,
  stale: 412,
  /** What would be replaced has to be named by its version. */
  unconditional: 428,
  'too-large': 413,
  unsupported: 415,
  /** It is for another host. */
  misdirected: 421,
  /** An Idempotency-Key that came with another request before. */
  reused: 422,
  limited: 429,
  internal: 500,
  upstream: 502,
  unavailable: 503,
  /** The sandbox of a tool call has gone, or did not start. */
  sandbox: 503,
  /** There is no room for it, or the disk can only be read. */
  'disk-full': 507,
} as const;

export type FailureCode = keyof typeof statusOf;

/** One thing that is wrong with an input: which field, and what it should be. */
export type Problem = { field: string; message: string; line?: number };

type FailureOptions = {
  cause?: unknown;
  retryAfterMs?: number | undefined;
  problems?: Problem[] | undefined;
  shouldRetry?: boolean | undefined;
};

/** The one error of this project: what went wrong, for someone who can act on it. It crosses the bus as it is. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly code: FailureCode;
  readonly retryAfterMs: number | undefined;
  readonly problems: Problem[] | undefined;
  /** Whether the caller should ask again, where that is known: false after all was tried already. Undefined: the code says. */
  readonly shouldRetry: boolean | undefined;

  constructor(code: FailureCode, message: string, { cause, retryAfterMs, problems, shouldRetry }: FailureOptions = {}) {
    super(message, { cause });
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.problems = problems;
    this.shouldRetry = shouldRetry;
  }
}

const transient: ReadonlySet<FailureCode> = new Set([
  'timeout',
  'limited',
  'upstream',
  'unavailable',
  'sandbox',
  'disk-full',
]);

/** Whether the same call may succeed later without anyone changing anything. */
export const isTransient = (error: unknown): boolean => error instanceof Failure && transient.has(error.code);

/** What to tell a person about anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
