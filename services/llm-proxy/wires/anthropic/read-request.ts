import { z } from 'zod';
import { checked } from '../conversation.ts';
import type { Effort, JsonObject, PivotRequest, TextPart } from '../pivot.ts';
import { inner, maybe, ObjectSchema, partsOf, readBody, untranslatable } from '../read.ts';
import { effortOf, effortOfBudget } from './read-effort.ts';
import { Message, messagesOf, Text } from './read-messages.ts';
import { readTools, Tools } from './read-tools.ts';

const wire = 'anthropic';
const object = <S extends z.ZodRawShape>(shape: S) => inner(wire, shape);

const single = { disable_parallel_tool_use: z.boolean().nullish() };
const ToolChoice = z.discriminatedUnion('type', [
  object({ type: z.literal('auto'), ...single }),
  object({ type: z.literal('any'), ...single }),
  object({ type: z.literal('tool'), name: z.string(), ...single }),
  object({ type: z.literal('none'), ...single }),
]);

const display = { display: z.string().nullish() };
const Thinking = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('enabled'), budget_tokens: z.int().positive(), ...display }),
  z.looseObject({ type: z.literal('adaptive'), ...display }),
  // The second is the least that some models can be asked for.
  z.looseObject({ type: z.enum(['disabled', 'between_tools']) }),
]);
type Thinking = z.infer<typeof Thinking>;

const Format = object({ type: z.literal('json_schema'), schema: ObjectSchema });

const Body = object({
  model: z.string().min(1),
  max_tokens: z.int().positive(),
  system: partsOf(Text).default([]),
  messages: z.array(Message),
  tools: Tools.default([]),
  tool_choice: ToolChoice.optional(),
  stop_sequences: z.array(z.string()).default([]),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  top_k: z.number().optional(),
  thinking: Thinking.optional(),
  output_config: object({
    effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullish(),
    format: maybe(Format),
  }).optional(),
  // Its name before output_config.
  output_format: Format.optional(),
  stream: z.boolean().default(false),
});
type Body = z.infer<typeof Body>;

/** A body of POST /v1/messages. Throws `invalid` with a problem for each field that no other wire can carry. */
export function readRequest(body: JsonObject): PivotRequest {
  const said = readBody(wire, Body, body);
  const { tool_choice: choice, messages: turns, thinking } = said;
  if (turns.at(-1)?.role === 'assistant') {
    throw untranslatable([
      { field: `messages.${turns.length - 1}`, message: 'begins the answer, which this model cannot go on with' },
    ]);
  }
  const forced = choice?.type === 'tool' ? choice.name : undefined;
  const { tools, words } = readTools({ raw: body.tools, tools: said.tools, turns, forced });
  if (forced !== undefined && tools.length > 0 && !tools.some(({ name }) => name === forced)) {
    throw untranslatable([{ field: 'tool_choice.name', message: 'names a tool that this model does not have' }]);
  }
  const alone = choice?.disable_parallel_tool_use;
  const format = said.output_config?.format ?? said.output_format;
  return checked({
    wire,
    model: said.model,
    system: [...said.system.filter(isForTheModel), ...words.map((text): TextPart => ({ type: 'text', text }))],
    messages: messagesOf(turns),
    tools,
    toolChoice: toChoice(choice),
    parallelToolCalls: alone === undefined || alone === null ? undefined : !alone,
    maxTokens: said.max_tokens,
    temperature: said.temperature,
    topP: said.top_p,
    topK: said.top_k,
    stop: said.stop_sequences,
    responseFormat: format ? { name: 'answer', schema: format.schema, strict: true } : 'text',
    reasoningEffort: toEffort(said),
    verbosity: undefined,
    thinking: toThinking(thinking),
    stream: said.stream,
    includeUsage: true,
  });
}

/** Claude Code begins its system prompt with a line for Anthropic's billing, of which parts change with each request (2.1.328). */
const isForTheModel = ({ text }: TextPart): boolean => !text.startsWith('x-anthropic-billing-header:');

/** How much the model is to think; an effort says it better than a budget. */
function toEffort({ thinking, output_config: output, messages, max_tokens }: Body): Effort | undefined {
  if (thinking?.type === 'disabled' || thinking?.type === 'between_tools') return 'none';
  const effort = effortOf(messages) ?? output?.effort;
  if (effort) return effort;
  return thinking?.type === 'enabled' ? effortOfBudget(thinking.budget_tokens, max_tokens) : undefined;
}

function toThinking(thinking: Thinking | undefined): PivotRequest['thinking'] {
  if (thinking?.type !== 'enabled' && thinking?.type !== 'adaptive') return undefined;
  return thinking.display === 'omitted' ? 'hidden' : 'shown';
}

function toChoice(choice: z.infer<typeof ToolChoice> | undefined): PivotRequest['toolChoice'] {
  if (!choice) return 'auto';
  if (choice.type === 'tool') return { name: choice.name };
  return choice.type === 'any' ? 'required' : choice.type;
}
