import type Anthropic from '@anthropic-ai/sdk';
import { z } from 'zod';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import type { RawCall } from '../../upstreams/answer.ts';
import type { Binding } from '../contract/bound-thinking.ts';

const thinking = [
  z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
  z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
  z.object({ type: z.literal('text'), text: z.string() }),
] as const;

/** A content block of an answer, as far as we use it. */
export type Block = z.infer<(typeof thinking)[number]> | ({ type: 'tool_use' } & RawCall);

// The API wants its thinking back as it was and where it was; tool calls are named by their place, for their ids become ours.
const Reasoning = z.object({
  anthropic: z.array(
    z.discriminatedUnion('type', [...thinking, z.object({ type: z.literal('call'), index: z.int().nonnegative() })]),
  ),
});

/** What to give back with this answer when the conversation goes on; undefined where the model did no thinking. */
export function packReasoning(blocks: readonly Block[], binding: Binding): string | undefined {
  if (!blocks.some(({ type }) => type === 'thinking' || type === 'redacted_thinking')) return undefined;
  let calls = 0;
  const anthropic = blocks.map((block) => (block.type === 'tool_use' ? { type: 'call', index: calls++ } : block));
  return JSON.stringify({ anthropic, ...binding });
}

type Turn = { role: 'user' | 'assistant'; content: Anthropic.ContentBlockParam[] };

/**
 * The conversation in Anthropic's words: one message for each turn, results first. `asked`: a tool that is to be called. `after`:
 * places of messages up to which the prompt is to be kept.
 */
export function toMessages(
  messages: readonly ChatMessage[],
  asked: string | undefined,
  after: ReadonlySet<number>,
): Anthropic.MessageParam[] {
  const turns: Turn[] = [];
  const add = (role: 'user' | 'assistant', content: Anthropic.ContentBlockParam[]) => {
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...content);
    else if (content.length > 0) turns.push({ role, content });
  };
  for (const [place, message] of messages.entries()) {
    if (message.role === 'user') add('user', [{ type: 'text', text: message.text }]);
    else if (message.role === 'assistant') add('assistant', said(message));
    else {
      const { callId, isError } = message;
      add('user', [{ type: 'tool_result', tool_use_id: callId, content: resultOf(message), is_error: isError }]);
    }
    if (after.has(place)) mark(turns.at(-1));
  }
  if (asked !== undefined) {
    add('user', [{ type: 'text', text: `Answer with one call of the tool "${asked}" and with nothing else.` }]);
  }
  return turns;
}

/** What the API keeps of a prompt, for five minutes from its last use. */
export const kept = { type: 'ephemeral' } as const;

/** The API takes no mark on thinking. */
function mark(turn: Turn | undefined): void {
  const block = turn?.content.at(-1);
  if (block?.type === 'text' || block?.type === 'tool_use' || block?.type === 'tool_result') block.cache_control = kept;
}

function resultOf({ text, image }: Extract<ChatMessage, { role: 'tool' }>): Anthropic.ToolResultBlockParam['content'] {
  if (!image) return text;
  const source = { type: 'base64' as const, media_type: image.mediaType, data: image.base64 };
  return [
    { type: 'text', text },
    { type: 'image', source },
  ];
}

type Said = Extract<ChatMessage, { role: 'assistant' }>;

function said({ text, toolCalls, reasoning }: Said): Anthropic.ContentBlockParam[] {
  const calls = toolCalls.map(
    ({ callId, tool, args }): Anthropic.ToolUseBlockParam => ({
      type: 'tool_use',
      id: callId,
      name: tool,
      input: args,
    }),
  );
  // The API refuses a text of nothing but white space.
  const plain = [...(text.trim() ? [{ type: 'text' as const, text }] : []), ...calls];
  return withThinking(reasoning, calls) ?? plain;
}

function withThinking(
  reasoning: string | undefined,
  calls: readonly Anthropic.ToolUseBlockParam[],
): Anthropic.ContentBlockParam[] | undefined {
  const blocks = unpack(reasoning);
  if (blocks?.filter(({ type }) => type === 'call').length !== calls.length) return undefined;
  return blocks.flatMap((block): Anthropic.ContentBlockParam[] => {
    if (block.type === 'call') return calls.slice(block.index, block.index + 1);
    return block.type === 'text' && !block.text.trim() ? [] : [block];
  });
}

/** Undefined where there is none, or it is another provider's. */
function unpack(reasoning: string | undefined) {
  if (reasoning === undefined) return undefined;
  try {
    return Reasoning.safeParse(JSON.parse(reasoning)).data?.anthropic;
  } catch {
    return undefined;
  }
}
