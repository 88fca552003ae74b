import { createHash } from 'node:crypto';

/**
 * Anthropic's ids of calls: letters, digits, "_" and "-" (the API's message of 400 names the pattern), and 64 characters, which no
 * server that speaks alike is known to refuse. Looked up 2026-11-30.
 */
const taken = /^[a-zA-Z0-9_-]{1,64}$/;
const readableMax = 40;

/** A call's id as Anthropic takes it: one that it would refuse becomes its readable part and a digest, the same way every time. */
export function idOf(id: string): string {
  if (taken.test(id)) return id;
  const readable = id.slice(0, readableMax).replace(/[^a-zA-Z0-9_-]/gu, '_');
  return `${readable.slice(0, readableMax)}_${createHash('sha256').update(id).digest('hex').slice(0, 20)}`;
}
