import { Failure } from '#shared/errors.ts';
import type { JsonObject } from '../pivot.ts';

// "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation. …", and "… `thinking` or
// `redacted_thinking` blocks in the latest assistant message cannot be modified …" (platform.claude.com: Fix a thinking block bound to a
// different conversation; anthropics/anthropic-sdk-python issue 1598; 2026-11-30).
const refusal =
  /invalid `?signature`? in `?(redacted_)?thinking`? block|bound to a different conversation|redacted_thinking`? blocks in the latest assistant message cannot be modified/i;

/** Whether a provider has refused a request for the thinking in it: without it, it may be taken. */
export const isRefused = (thrown: unknown): boolean =>
  thrown instanceof Failure && thrown.code === 'invalid' && refusal.test(thrown.message);

/** A body of POST /v1/messages without any thinking of before; undefined where there is none in it. */
export function leaveOut(body: JsonObject): JsonObject | undefined {
  if (!Array.isArray(body.messages)) return undefined;
  let found = false;
  const messages = body.messages.flatMap((message: unknown) => {
    const content = message instanceof Object && 'content' in message ? message.content : undefined;
    if (!Array.isArray(content) || !content.some(isThinking)) return [message];
    found = true;
    const rest = content.filter((block) => !isThinking(block));
    return rest.length > 0 ? [{ ...(message as object), content: rest }] : [];
  });
  return found ? { ...body, messages } : undefined;
}

const isThinking = (block: unknown): boolean =>
  block instanceof Object && 'type' in block && (block.type === 'thinking' || block.type === 'redacted_thinking');
