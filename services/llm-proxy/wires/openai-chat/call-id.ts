import { createHash } from 'node:crypto';
import type { ModelTraits } from '../pivot.ts';

/** What OpenAI takes as a `tool_call_id`: "string too long. Expected a string with maximum length 40" (its own 400, seen 2026-11-30). */
const idCharsMax = 40;
const prefix = 'call_';

/**
 * What Mistral takes: "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9" (the validator of mistral-common, by which its API
 * and vLLM judge; chat templates of its older models too, 2026-11-30).
 */
const nine = /^[a-zA-Z0-9]{9}$/;

/** The id of a call as this wire's server takes it: any other becomes its digest, which is the same in the call, its result and every later turn. */
export function callIdOf(id: string, { call_ids }: ModelTraits = {}): string {
  if (call_ids === 'nine') return nine.test(id) ? id : nineOf(id);
  if (id.length <= idCharsMax) return id;
  return (
    prefix +
    digestOf(id)
      .toString('hex')
      .slice(0, idCharsMax - prefix.length)
  );
}

const digestOf = (id: string): Buffer => createHash('sha256').update(id).digest();

/** Of 36 to the 9th, so that among a thousand calls two alike come once in 200 million conversations. */
const nineOf = (id: string): string => (digestOf(id).readBigUInt64BE() % 36n ** 9n).toString(36).padStart(9, '0');
