import { z } from 'zod';
import { Grammar, toTextFunction } from '../custom-tools.ts';
import type { CacheMark, PivotRequest, PivotTool } from '../pivot.ts';
import { CacheControl, inner, maybe, ObjectSchema } from '../read.ts';

const object = <S extends z.ZodRawShape>(shape: S) => inner('openai-chat', shape);

/** A mark of Anthropic's prompt cache, which OpenRouter, LiteLLM and their clients put on parts, messages and tools of this wire. */
export const cache_control = maybe(CacheControl);
export const cacheOf = (cache: CacheMark | undefined) => (cache ? { cache } : {});

export const Tool = z.discriminatedUnion('type', [
  object({
    type: z.literal('function'),
    function: object({
      name: z.string().min(1),
      description: z.string().nullish(),
      parameters: maybe(ObjectSchema),
      strict: z.boolean().nullish(),
      cache_control,
    }),
    cache_control,
  }),
  object({
    type: z.literal('custom'),
    custom: object({
      name: z.string().min(1),
      description: z.string().nullish(),
      format: maybe(
        z.discriminatedUnion('type', [
          object({ type: z.literal('text') }),
          object({ type: z.literal('grammar'), grammar: Grammar }),
        ]),
      ),
    }),
    cache_control,
  }),
]);

export function toTool(tool: z.infer<typeof Tool>): PivotTool {
  if (tool.type === 'custom') {
    const { name, description, format } = tool.custom;
    const grammar = format?.type === 'grammar' ? format.grammar : undefined;
    const made = toTextFunction({ name, description, grammar }, { kind: 'custom', name });
    return { ...made, ...cacheOf(tool.cache_control) };
  }
  const { name, description, parameters, strict, cache_control: inside } = tool.function;
  return {
    name,
    description: description ?? undefined,
    schema: parameters ?? { type: 'object', properties: {} },
    strict: strict ?? undefined,
    ...cacheOf(tool.cache_control ?? inside),
  };
}

export const ToolChoice = z.preprocess(
  (value) => (typeof value === 'string' ? { type: value } : value),
  z.discriminatedUnion('type', [
    object({ type: z.enum(['auto', 'none', 'required']) }),
    object({ type: z.literal('function'), function: object({ name: z.string() }) }),
    object({ type: z.literal('custom'), custom: object({ name: z.string() }) }),
  ]),
);

export function toChoice(choice: z.infer<typeof ToolChoice> | undefined): PivotRequest['toolChoice'] {
  if (!choice) return 'auto';
  if (choice.type === 'function') return { name: choice.function.name };
  return choice.type === 'custom' ? { name: choice.custom.name } : choice.type;
}
