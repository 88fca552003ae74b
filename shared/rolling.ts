import { hash } from 'node:crypto';
import type { ChatMessage, ToolOffer } from '#shared/contracts/llm.ts';

// A conversation's digest grows with it: the digest of what came before and of the next part, so that a new message costs its own
// size. Its first part is the head, what stands before the messages. Both sides must write a part alike: fields have one order.

/** The first part of a conversation: what each of its calls begins with. */
export const writeHead = (system: string, tools: readonly ToolOffer[]): string =>
  JSON.stringify({
    system,
    tools: tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema })),
  });

/** A message as a part of a conversation. */
export function writeMessage(message: ChatMessage): string {
  switch (message.role) {
    case 'user':
      return JSON.stringify({ role: message.role, text: message.text });
    case 'tool': {
      const { role, callId, text, isError, image } = message;
      return JSON.stringify({
        ...{ role, callId, text, isError },
        ...(image ? { image: { mediaType: image.mediaType, base64: image.base64 } } : {}),
      });
    }
    case 'assistant': {
      const { role, text, reasoning } = message;
      const toolCalls = message.toolCalls.map(({ callId, tool, args, json, problem }) => {
        return { callId, tool, args, json, problem };
      });
      return JSON.stringify({ role, text, toolCalls, reasoning });
    }
  }
}

/** The digest (SHA-256, hex) of a conversation with one more part; `before` is empty for its head. */
export const roll = (before: string, part: string): string => hash('sha256', before + part, 'hex');
