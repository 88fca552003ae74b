import type { Call } from './calls.ts';
import type { Findings } from './findings.ts';

/** A part of the document that the rules can write: when it is asked for, what it must look at, and what it then says. */
export type Section = {
  heading: string;
  /** The words of an objective that ask for it. */
  words: RegExp;
  /** What to look at, once the files are listed. */
  calls(findings: Findings): Call[];
  lines(findings: Findings): string[];
};

export const unlisted = ['The files could not be listed.'];
