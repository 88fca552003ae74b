import { z } from 'zod';
import type { CallPart, PivotAnswer, TextPart, ThinkingPart } from '../pivot.ts';
import type { Binding } from './bound-thinking.ts';

const Thought = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('thinking'),
    thinking: z.string(),
    id: z.string().optional(),
    signature: z.string().optional(),
  }),
  z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
  z.object({ type: z.literal('text'), text: z.string() }),
  // Calls are named by their place, for their ids become the caller's own.
  z.object({ type: z.literal('call'), index: z.int().nonnegative() }),
]);
type Thought = z.infer<typeof Thought>;

/** `model`: as its provider was asked for it. */
export type Origin = Binding | Pick<Binding, 'model'>;

// By the wire that it is of, and the model. Answers of earlier versions do not say the model.
const Reasoning = z.object({
  model: z.string().optional(),
  anthropic: z.array(Thought).optional(),
  'openai-chat': z.array(Thought).optional(),
  'openai-responses': z.array(Thought).optional(),
});

/**
 * What the contract's `reasoning` holds, unread by who keeps it: the model's thinking, so that it can be given back with this answer when
 * the conversation goes on, and what it is bound to. Undefined where the model did no thinking.
 */
export function packReasoning(parts: PivotAnswer['parts'], origin: Origin): string | undefined {
  const thought = parts.filter((part) => part.type === 'thinking');
  const [first] = thought;
  if (!first) return undefined;
  if (first.of !== 'openai-chat') return JSON.stringify({ ...origin, [first.of]: inPlace(parts) });
  // On OpenAI's chat it has no place among the rest.
  return JSON.stringify({
    ...origin,
    'openai-chat': [{ type: 'thinking', thinking: thought.map(({ text }) => text).join('') }],
  });
}

/** Anthropic's is bound to its place between texts and calls, and that of OpenAI's responses comes before what it led to. */
function inPlace(parts: PivotAnswer['parts']): Thought[] {
  let calls = 0;
  return parts.map((part): Thought => {
    if (part.type === 'toolCall') return { type: 'call', index: calls++ };
    if (part.type !== 'thinking') return { type: 'text', text: part.text };
    if (part.redacted !== undefined) return { type: 'redacted_thinking', data: part.redacted };
    return { type: 'thinking', thinking: part.text, id: part.id, signature: part.signature };
  });
}

type Said = TextPart | CallPart | ThinkingPart;

/** An assistant's message as its model said it: with the thinking where it was. Whose thinking it is, its parts say. */
export function withReasoning(
  reasoning: string | undefined,
  said: readonly TextPart[],
  calls: readonly CallPart[],
): Said[] {
  const plain: Said[] = [...said, ...calls];
  const { model, anthropic, 'openai-chat': chat, 'openai-responses': responses } = unpack(reasoning) ?? {};
  if (chat) return [...chat.flatMap((each) => thinkingOf(each, 'openai-chat', model)), ...plain];
  const placed = anthropic ?? responses;
  // Of other calls than these it is no thinking that led to them.
  if (placed?.filter(({ type }) => type === 'call').length !== calls.length) return plain;
  return placed.flatMap((each): Said[] => {
    if (each.type === 'call') return calls.slice(each.index, each.index + 1);
    return each.type === 'text' ? [each] : thinkingOf(each, anthropic ? 'anthropic' : 'openai-responses', model);
  });
}

function thinkingOf(thought: Thought, of: ThinkingPart['of'], model: string | undefined): ThinkingPart[] {
  if (thought.type === 'redacted_thinking') return [{ type: 'thinking', of, model, text: '', redacted: thought.data }];
  if (thought.type !== 'thinking') return [];
  const { thinking: text, id, signature } = thought;
  return [{ type: 'thinking', of, model, text, id, signature }];
}

/** Undefined where there is none, or it is not ours. */
function unpack(reasoning: string | undefined) {
  if (reasoning === undefined) return undefined;
  try {
    return Reasoning.safeParse(JSON.parse(reasoning)).data;
  } catch {
    return undefined;
  }
}
