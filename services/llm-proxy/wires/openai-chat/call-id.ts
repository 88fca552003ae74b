import { createHash } from 'node:crypto';

/** What OpenAI takes as a `tool_call_id`: "string too long. Expected a string with maximum length 40" (its own 400, seen 2026-11-30). */
const idCharsMax = 40;
const prefix = 'call_';

/** The id of a call as this wire takes it: what is too long becomes its digest, which is the same in the call, its result and every later turn. */
export function callIdOf(id: string): string {
  if (id.length <= idCharsMax) return id;
  return (
    prefix +
    createHash('sha256')
      .update(id)
      .digest('hex')
      .slice(0, idCharsMax - prefix.length)
  );
}
