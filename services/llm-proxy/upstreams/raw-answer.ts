import type { OutgoingHttpHeaders } from 'node:http';
import { Failure } from '#shared/errors.ts';

/** An error as the provider sent it, its headers reduced. */
type RawAnswer = { status: number; body: string; headers: OutgoingHttpHeaders };

const rawAnswers = new WeakMap<Failure, RawAnswer>();

/** Remembers what the provider itself said, for a client that speaks its wire. */
export const keepRawAnswer = (failure: Failure, raw: RawAnswer): void => void rawAnswers.set(failure, raw);

/** Of a failure, or of the one that it sums up. */
export const rawAnswerOf = (failure: Failure): RawAnswer | undefined =>
  rawAnswers.get(failure) ?? (failure.cause instanceof Failure ? rawAnswerOf(failure.cause) : undefined);
