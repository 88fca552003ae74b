import { CommanderError } from 'commander';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, isTransient } from '#shared/errors.ts';

/** What the command ended with, for scripts. */
export const exitCodes = { ok: 0, failure: 1, usage: 2, notFound: 3, auth: 4, unavailable: 5 } as const;

export const exitHelp = `Exit codes: 0 done · 1 it failed, or was refused · 2 wrong command line · 3 there is no such thing, or no more
            4 no valid token, or a scope is missing · 5 nobody answers, or not now: try again later`;

const codes: Partial<Record<FailureCode, number>> = {
  'not-found': exitCodes.notFound,
  gone: exitCodes.notFound,
  unauthorized: exitCodes.auth,
  forbidden: exitCodes.auth,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  if (!(error instanceof Failure)) return exitCodes.failure;
  return codes[error.code] ?? (isTransient(error) ? exitCodes.unavailable : exitCodes.failure);
}
