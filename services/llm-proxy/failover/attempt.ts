import type { Usage } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Target } from '../models/target.ts';

/** What the attempt tells while it lasts. */
export type Marks = {
  /** The endpoint is asked now: from here on the call may cost something. */
  reached(): void;
  /** The answer has begun to come: the endpoint's time until then is over. Call it always, or a long call ends at `firstByteMs`. */
  began(): void;
  /** A piece of a stream came. From the first on, the endpoint's time is what may pass between two, however long the whole takes. */
  piece(): void;
  /** The caller has got something of the answer: from here on nothing is tried anew. */
  sent(): void;
  /** The model said something, whether or not the caller has got it: that may cost, whatever comes behind it. */
  said(): void;
  /** What it took, as the endpoint says. */
  took(usage: Usage | undefined): void;
};

/** One call to one target. It ends when its signal does, whose reason is a Failure. */
export type Attempt<T> = (target: Target, signal: AbortSignal, marks: Marks) => Promise<T>;

/** For an attempt that goes on although it was called off; then it is left alone. */
const settleMsMax = 1_000;

export type Progress = {
  reached: boolean;
  began: boolean;
  sent: boolean;
  said: boolean;
  /** From the attempt's beginning until the caller had something of the answer. */
  firstMs: number | undefined;
  usage: Usage | undefined;
};

export const noProgress = (): Progress => ({
  reached: false,
  began: false,
  sent: false,
  said: false,
  firstMs: undefined,
  usage: undefined,
});

type Limits = {
  /** By `performance.now()`. */
  deadlineMs: number;
  signal: AbortSignal;
};

/** Makes one attempt within its endpoint's times, and within the deadline until a stream comes. Always ends, whatever the attempt does. */
export async function tryOnce<T>(
  target: Target,
  attempt: Attempt<T>,
  { deadlineMs, signal }: Limits,
  progress: Progress,
): Promise<T> {
  const { timeoutMs, firstByteMs, pieceMs, upstream } = target.endpoint;
  const beganMs = performance.now();
  const wholeMs = Math.min(timeoutMs, deadlineMs - beganMs);
  const own = new AbortController();
  let leave: NodeJS.Timeout | undefined;
  let abandon: (reason: unknown) => void = () => undefined;
  const abandoned = new Promise<never>((_, reject) => {
    abandon = reject;
  });
  const end = (reason: unknown) => {
    own.abort(reason);
    leave ??= setTimeout(() => abandon(reason), settleMsMax);
  };
  const late = (what: string, ms: number, setting: string) =>
    end(new Failure('timeout', `${upstream.label} ${what} within ${Math.round(ms) / 1_000} s; see ${setting}`));
  const onAbort = () => end(signal.reason);
  const lateWhole = () => late('did not end its answer', wholeMs, 'LLM_TIMEOUT and its timeout in MODELS_FILE');
  const startsLate = firstByteMs < wholeMs;
  let limit = startsLate
    ? setTimeout(
        () => late('did not begin to answer', firstByteMs, 'its first_byte_timeout in MODELS_FILE'),
        firstByteMs,
      )
    : setTimeout(lateWhole, wholeMs);
  let pieceAtMs = 0;
  const watchPieces = () => {
    const leftMs = pieceAtMs + pieceMs - performance.now();
    if (leftMs > 0) limit = setTimeout(watchPieces, leftMs);
    else late('sent no more of its answer', pieceMs, 'LLM_STREAM_TIMEOUT, LLM_TIMEOUT and its timeout in MODELS_FILE');
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const marks: Marks = {
    reached() {
      progress.reached = true;
    },
    said() {
      progress.said = true;
    },
    took(usage) {
      progress.usage = usage;
    },
    began() {
      if (progress.began) return;
      progress.began = true;
      if (!startsLate || own.signal.aborted || pieceAtMs > 0) return;
      clearTimeout(limit);
      limit = setTimeout(lateWhole, wholeMs - (performance.now() - beganMs));
    },
    piece() {
      const isFirst = pieceAtMs === 0;
      pieceAtMs = performance.now();
      progress.began = true;
      if (!isFirst || own.signal.aborted) return;
      clearTimeout(limit);
      watchPieces();
    },
    sent() {
      if (progress.sent) return;
      progress.sent = true;
      progress.firstMs = performance.now() - beganMs;
    },
  };
  try {
    signal.throwIfAborted();
    return await Promise.race([attempt(target, own.signal, marks), abandoned]);
  } catch (error) {
    throw own.signal.aborted && !(error instanceof Failure) ? own.signal.reason : error;
  } finally {
    clearTimeout(limit);
    clearTimeout(leave);
    signal.removeEventListener('abort', onAbort);
  }
}
