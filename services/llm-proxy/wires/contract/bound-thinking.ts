import { z } from 'zod';
import type { ChatMessage, ChatRequest } from '#shared/contracts/llm.ts';
import { roll, writeHead, writeMessage } from '#shared/rolling.ts';

// The API binds each thinking block to the model that made it, to `system`, `tools` and all messages before it, and to the thinking block
// before it; what thinking says is no part of it, nor is cache_control. A block of a model whose thinking it cannot read it drops; one whose
// beginning changed is refused with a 400, by default, and every later one with it. Thinking may be left out from the beginning on, and
// nowhere between (platform.claude.com: Preserved thinking; Prefix checks on thinking blocks; read on 2026-11-30).
// So an answer's thinking goes with what it was made from, and what can no longer be proven is left out, with all thinking before it: a
// conversation that was compacted, instructions or tools that changed, another model or endpoint, an answer from before there was a proof. To
// have it dropped there (`thinking.block_binding`) would take a beta's header and a field that servers which speak alike do not know.

type Place = {
  /** As its provider is asked for it. */
  model: string;
  endpoint: string;
};

/** What an answer's thinking was made by, and from: `prompt` is the digest of the request. */
export type Binding = Place & {
  prompt: string;
  /** No thinking of before was sent. */
  alone?: true;
};

const Packed = z.looseObject({
  anthropic: z.array(z.looseObject({ type: z.string() })),
  model: z.string().optional(),
  endpoint: z.string().optional(),
  prompt: z.string().optional(),
  alone: z.literal(true).optional(),
});
type Packed = z.infer<typeof Packed>;

type Bound = { messages: ChatMessage[]; binding: Binding };

/** The messages as they can be sent to a model, with the thinking that holds there, and what the answer's thinking will be bound to. */
export function bindThinking({ system, tools, messages, toolChoice }: ChatRequest, place: Place): Bound {
  let prompt = roll('', writeHead(system, tools));
  // Up to here thinking is left out.
  let from = 0;
  for (const [index, message] of messages.entries()) {
    const packed = packedOf(message);
    if (packed && thinks(packed)) {
      const isHere = packed.model === place.model && packed.endpoint === place.endpoint;
      if (!isHere || packed.prompt !== prompt || !isWhole(packed, message)) from = index + 1;
      else if (packed.alone) from = index;
    }
    prompt = roll(prompt, writeMessage(plain(message)));
  }
  // To have a tool called something may be said that is not said again.
  if (toolChoice !== 'auto') prompt = roll(prompt, JSON.stringify(toolChoice));
  return { messages: leftOut(messages, from), binding: { ...place, prompt } };
}

/** The same without any thinking: for a provider that has refused it. */
export function withoutThinking({ messages, binding }: Bound): Bound {
  return { messages: leftOut(messages, messages.length), binding: { ...binding, alone: true } };
}

export const hasThinking = ({ messages }: Bound): boolean =>
  messages.some((message) => thinks(packedOf(message) ?? { anthropic: [] }));

const isThinking = ({ type }: { type: string }) => type === 'thinking' || type === 'redacted_thinking';
const thinks = ({ anthropic }: Packed): boolean => anthropic.some(isThinking);

/** Whether it can go back as it came: with each of its calls, and each of its blocks with its signature. */
function isWhole({ anthropic }: Packed, message: ChatMessage): boolean {
  const calls = anthropic.filter(({ type }) => type === 'call').length;
  const isSigned = anthropic.every(({ type, signature }) => type !== 'thinking' || Boolean(signature));
  return message.role === 'assistant' && calls === message.toolCalls.length && isSigned;
}

const leftOut = (messages: readonly ChatMessage[], to: number): ChatMessage[] =>
  messages.map((message, index) => {
    const packed = index < to ? packedOf(message) : undefined;
    if (message.role !== 'assistant' || !packed) return message;
    // What else it said keeps its order.
    return {
      ...message,
      reasoning: JSON.stringify({ anthropic: packed.anthropic.filter((each) => !isThinking(each)) }),
    };
  });

const plain = (message: ChatMessage): ChatMessage =>
  message.role === 'assistant' ? { ...message, reasoning: undefined } : message;

/** Undefined where there is none, or it is another provider's. */
function packedOf(message: ChatMessage): Packed | undefined {
  if (message.role !== 'assistant' || message.reasoning === undefined) return undefined;
  try {
    return Packed.safeParse(JSON.parse(message.reasoning)).data;
  } catch {
    return undefined;
  }
}
