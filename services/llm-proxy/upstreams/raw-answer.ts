import type { OutgoingHttpHeaders } from 'node:http';
import type { Failure } from '#shared/errors.ts';

/** An error as the provider sent it, its headers reduced. */
type RawAnswer = { status: number; body: string; headers: OutgoingHttpHeaders };

const rawAnswers = new WeakMap<Failure, RawAnswer>();

/** Remembers what the provider itself said, for a client that speaks its wire. */
export const keepRawAnswer = (failure: Failure, raw: RawAnswer): void => void rawAnswers.set(failure, raw);

export const rawAnswerOf = (failure: Failure): RawAnswer | undefined => rawAnswers.get(failure);
