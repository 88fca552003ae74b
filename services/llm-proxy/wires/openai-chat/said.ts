import { z } from 'zod';

const text = z.string().nullish().catch(undefined);

/**
 * What stands in a `delta` or a `message` beside its calls. Servers have their own names for thinking: `reasoning_content` of DeepSeek, Kimi,
 * SGLang and llama.cpp; `reasoning` of Ollama, Groq, OpenRouter and newer vLLM, which once gave both (2026-11-30).
 */
export const saidFields = {
  content: z.union([z.string(), z.array(z.unknown())]).nullish(),
  refusal: z.string().nullish(),
  reasoning_content: text,
  reasoning: text,
};

type Fields = z.infer<z.ZodObject<typeof saidFields>>;

export type Said = { type: 'text' | 'refusal' | 'thinking'; text: string };

/** What was said, in order; nothing of it is empty. */
export function saidIn({ content, refusal, reasoning_content, reasoning }: Fields): Said[] {
  const parts: Said[] = [
    { type: 'thinking', text: reasoning_content || reasoning || '' },
    ...(typeof content === 'string' ? [{ type: 'text' as const, text: content }] : (content ?? []).flatMap(partIn)),
    { type: 'refusal', text: refusal ?? '' },
  ];
  return parts.filter((part) => part.text !== '');
}

const Part = z.looseObject({ type: text, text, refusal: text, thinking: z.unknown().optional() });

/** One part of a list. Mistral's reasoning models think in parts that are lists themselves ("Reasoning", 2026-11-30); what is new says nothing. */
function partIn(value: unknown): Said[] {
  if (typeof value === 'string') return [{ type: 'text', text: value }];
  const part = Part.safeParse(value).data;
  if (!part) return [];
  if (part.type === 'thinking') return [{ type: 'thinking', text: textsIn(part.thinking) }];
  return part.type === 'refusal'
    ? [{ type: 'refusal', text: part.refusal ?? '' }]
    : [{ type: 'text', text: part.text ?? '' }];
}

function textsIn(thinking: unknown): string {
  if (typeof thinking === 'string') return thinking;
  const parts = Array.isArray(thinking) ? thinking : [];
  return parts.map((part) => (typeof part === 'string' ? part : (Part.safeParse(part).data?.text ?? ''))).join('');
}

const Args = z.unknown().transform((value) => {
  if (typeof value === 'string') return value;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : '';
});

/** A call, or a piece of one. Ollama's own API has the arguments as an object, and what stands before it may leave them so; llama.cpp's server had the id inside. */
export const Call = z
  .looseObject({
    index: z.int().nonnegative().nullish().catch(undefined),
    id: text,
    function: z.looseObject({ name: text, arguments: Args.optional(), id: text }).nullish(),
  })
  .transform(({ index, id, function: called }) => ({
    index: index ?? undefined,
    id: id || called?.id || '',
    name: called?.name ?? '',
    args: called?.arguments ?? '',
  }));
