import { Failure } from '#shared/errors.ts';
import type { JsonObject } from '../pivot.ts';

// `invalid_encrypted_content`: "The encrypted content … could not be verified." Whoever else asks than who was answered, as another of an
// endpoint's keys may be of another organisation, cannot give it back (openai/codex issues 8119 and 8145, 2026-11-30).
const refusal = /invalid_encrypted_content|encrypted content\b.* could not be verified/i;

/** Whether OpenAI has refused a request for the encrypted thinking in it: without it, it may be taken. */
export const isRefused = (thrown: unknown): boolean =>
  thrown instanceof Failure && thrown.code === 'invalid' && refusal.test(thrown.message);

/** A body of POST /v1/responses without any thinking of before; undefined where there is none in it. */
export function leaveOut(body: JsonObject): JsonObject | undefined {
  if (!Array.isArray(body.input)) return undefined;
  const input = body.input.filter(
    (item: unknown) => !(item instanceof Object && 'type' in item && item.type === 'reasoning'),
  );
  return input.length < body.input.length ? { ...body, input } : undefined;
}
