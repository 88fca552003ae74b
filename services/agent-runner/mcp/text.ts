import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';

// Control characters, and those that hide text or turn its direction; tabs and line ends may stay.
const hidden = /[^\P{C}\t\n\r]|[\u2028\u2029\u{E0000}-\u{E007F}]/gu;

/** Whether a text holds characters that a reader does not see. */
export const hides = (text: string): boolean => text.search(hidden) >= 0;

/** What a server says about itself, fit to be read by a model: without hidden characters and secrets, and short. */
export const tidy = (text: string, charsMax: number): string => shorten(text.replace(hidden, ''), charsMax);

/** What a server answers: without secrets, and at most so long. */
export const shorten = (text: string, charsMax: number): string => clip(scrub(text), charsMax).toWellFormed();
