import { z } from 'zod';

/** What a model of Anthropic's takes, by its documented pages (platform.claude.com: models, what is new, thinking, effort; 2026-11-30). */
type Model = {
  systemMessages: boolean;
  sampling: boolean;
  forcedTools: boolean;
  thinking: readonly string[];
  efforts: readonly string[];
  outputMax: number;
};

const allEfforts = ['low', 'medium', 'high', 'xhigh', 'max'];
const upToHigh = ['low', 'medium', 'high'];
const adaptive = ['adaptive', 'disabled'];
const budgets = ['enabled', 'disabled'];
const modern = { systemMessages: true, sampling: false, forcedTools: true, efforts: allEfforts, outputMax: 128_000 };
const older = { ...modern, systemMessages: false, sampling: true };
const first = { ...older, outputMax: 64_000, thinking: budgets };
const models: Record<string, Model> = {
  'claude-opus-5-5': { ...modern, forcedTools: false, thinking: ['adaptive'] },
  'claude-opus-5': { ...modern, thinking: adaptive },
  'claude-opus-4-8': { ...modern, thinking: adaptive },
  'claude-opus-4-7': { ...modern, systemMessages: false, thinking: adaptive },
  'claude-opus-4-6': { ...older, thinking: [...adaptive, 'enabled'], efforts: [...upToHigh, 'max'] },
  'claude-opus-4-5': { ...first, efforts: upToHigh },
  'claude-sonnet-5-5': { ...modern, forcedTools: false, thinking: ['adaptive', 'between_tools'] },
  'claude-sonnet-5': { ...modern, systemMessages: false, thinking: adaptive },
  'claude-sonnet-4-6': { ...older, thinking: [...adaptive, 'enabled'], efforts: [...upToHigh, 'max'] },
  'claude-sonnet-4-5': { ...first, efforts: [] },
  'claude-haiku-5-5': { ...modern, thinking: adaptive },
  'claude-haiku-4-5': { ...first, efforts: [] },
  'claude-fable-5-2': { ...modern, forcedTools: false, thinking: ['adaptive'] },
  'claude-fable-5-1': { ...modern, forcedTools: false, thinking: ['adaptive'] },
  'claude-fable-5': { ...modern, thinking: ['adaptive'] },
};
/** An order not to think is refused at a higher effort. */
const thoughtlessUpToHigh = new Set(['claude-opus-5', 'claude-sonnet-5-5', 'claude-haiku-5-5']);
/** Any other name of the tests: a model that takes what some model takes. */
const anyModel: Model = { ...modern, sampling: true, thinking: ['adaptive', 'disabled', 'between_tools', 'enabled'] };

const Block = z.looseObject({ type: z.string(), id: z.string().optional(), tool_use_id: z.string().optional() });
const Content = z.union([z.string(), z.array(Block)]);
const Body = z.looseObject({
  model: z.string(),
  max_tokens: z.number(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  top_k: z.number().optional(),
  thinking: z.looseObject({ type: z.string() }).optional(),
  output_config: z
    .looseObject({ effort: z.string().optional(), format: z.looseObject({ schema: z.unknown() }).optional() })
    .optional(),
  tool_choice: z.looseObject({ type: z.string() }).optional(),
  tools: z.array(z.looseObject({ strict: z.boolean().optional(), input_schema: z.unknown() })).default([]),
  messages: z.array(z.looseObject({ role: z.string(), content: Content })),
});
type Body = z.infer<typeof Body>;

/** Words of the 400 with which Anthropic refuses a request, as far as it documents why; undefined: it is taken. */
export function refusalOfAnthropic(body: unknown): string | undefined {
  const said = Body.parse(body);
  const model = models[said.model] ?? anyModel;
  return (
    placement(said, model) ??
    calls(said) ??
    parameters(said, model) ??
    schemas(said) ??
    (marks(said) > 4 ? 'A maximum of 4 blocks with cache_control may be provided.' : undefined)
  );
}

/** Mid-conversation system messages: behind a user's turn, at the end or before an assistant's, and not two in a row. */
function placement({ messages }: Body, { systemMessages }: Model): string | undefined {
  const roles = messages.map(({ role }) => role);
  const wrong = roles.findIndex((role, at) => {
    if (role !== 'system') return false;
    const next = roles[at + 1];
    return !systemMessages || roles[at - 1] !== 'user' || (next !== undefined && next !== 'assistant');
  });
  if (wrong < 0) return undefined;
  return `messages.${wrong}: role 'system' ${systemMessages ? 'may not stand here' : 'is not supported on this model'}`;
}

/** Every call has an id of its own, of these characters, and its result at once. */
function calls({ messages }: Body): string | undefined {
  const seen = new Set<string>();
  for (const [at, { content }] of messages.entries()) {
    const called = blocksOf(content).flatMap(({ type, id }) => (type === 'tool_use' && id !== undefined ? [id] : []));
    const next = blocksOf(messages[at + 1]?.content ?? []);
    for (const id of called) {
      if (!/^[a-zA-Z0-9_-]+$/.test(id)) return `messages.${at}: tool_use.id: String should match the pattern`;
      if (seen.has(id)) return `messages.${at}: \`tool_use\` ids must be unique`;
      seen.add(id);
      if (!next.some((block) => block.tool_use_id === id))
        return `messages.${at}: \`tool_use\` without \`tool_result\``;
    }
  }
  return undefined;
}

const blocksOf = (content: z.infer<typeof Content>) => (typeof content === 'string' ? [] : content);

function parameters(said: Body, model: Model): string | undefined {
  const { temperature, top_p, top_k, thinking, output_config: output, max_tokens } = said;
  if (temperature !== undefined && top_p !== undefined) return '`temperature` and `top_p` cannot both be specified';
  const isOwn = (value: number | undefined, usual: number) => value !== undefined && value !== usual;
  if (!model.sampling && (isOwn(temperature, 1) || top_p !== undefined || top_k !== undefined))
    return 'temperature, top_p and top_k are not supported for this model';
  if (thinking && !model.thinking.includes(thinking.type))
    return `"thinking.type.${thinking.type}" is not supported for this model.`;
  const forced = said.tool_choice?.type ?? '';
  if (!model.forcedTools && ['any', 'tool'].includes(forced))
    return `tool_choice: type "${forced}" is not supported for this model`;
  const thinksLess = thinking && thinking.type !== 'adaptive' && thoughtlessUpToHigh.has(said.model);
  if (thinksLess && ['xhigh', 'max'].includes(output?.effort ?? ''))
    return `"thinking.type.${thinking.type}" is not supported at the effort ${output?.effort}`;
  if (output?.effort !== undefined && !model.efforts.includes(output.effort))
    return `output_config.effort: ${output.effort} is not supported for this model`;
  return max_tokens > model.outputMax ? `max_tokens: ${max_tokens} > ${model.outputMax}` : undefined;
}

const refusedKeywords = ['minimum', 'maximum', 'multipleOf', 'minLength', 'maxLength', 'maxItems', 'uniqueItems'];

/** Structured outputs: objects are closed, and numbers and lengths have no bounds. */
function schemas({ output_config: output, tools }: Body): string | undefined {
  const held = tools.flatMap(({ strict, input_schema }) => (strict ? [input_schema] : []));
  return [output?.format?.schema, ...held].map((schema) => schemaProblem(schema)).find((each) => each !== undefined);
}

function schemaProblem(schema: unknown): string | undefined {
  if (Array.isArray(schema)) return schema.map(schemaProblem).find((each) => each !== undefined);
  if (typeof schema !== 'object' || schema === null) return undefined;
  const { type, additionalProperties, properties, ...rest } = schema as Record<string, unknown>;
  if (type === 'object' && additionalProperties !== false)
    return "'additionalProperties' must be explicitly set to false";
  const refused = Object.keys(rest).find((keyword) => refusedKeywords.includes(keyword));
  if (refused) return `schema: '${refused}' is not supported`;
  return schemaProblem([...Object.values(properties ?? {}), rest.items, rest.anyOf, rest.allOf]);
}

/** How many marks of the prompt cache there are in all. */
export const marks = (value: unknown): number => JSON.stringify(value).split('"cache_control":{').length - 1;
