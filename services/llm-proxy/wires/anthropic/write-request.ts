import type Anthropic from '@anthropic-ai/sdk';
import type { Problem } from '#shared/errors.ts';
import { fieldOf } from '../conversation.ts';
import { nearestEffort } from '../efforts.ts';
import type { JsonObject, ModelTraits, PivotRequest, PivotTool, TextPart, WriteOptions } from '../pivot.ts';
import { untranslatable } from '../read.ts';
import { fitSchema, isOpen } from './fit-schema.ts';
import { keepPrompt } from './keep-prompt.ts';
import type { Turn } from './turns.ts';
import { markOf, plain, turnsOf, writeText } from './turns.ts';

/** As Anthropic's own SDK has them. */
// Its version, 2026-10-21, has no sampling parameters any more; the one that we speak has.
type Sampling = { temperature?: number; top_p?: number; top_k?: number };
type Body = Anthropic.MessageCreateParams & Sampling;
type Fields = Partial<Body>;

/** The request as a body of POST /v1/messages. Throws `invalid` with a problem for each field it cannot carry. */
export function writeRequest(
  request: PivotRequest,
  { model, maxTokensDefault, traits = {} }: WriteOptions,
): JsonObject {
  const messages = turnsOf(request.messages, { model, systemMessages: traits.system_messages ?? false });
  const problems = [...problemsOf(request), ...turnProblems(request, messages)];
  if (problems.length > 0) throw untranslatable(problems);
  const system = [...request.system, ...wordsOf(request)].flatMap(writeText);
  const body = {
    model,
    max_tokens: request.maxTokens ?? maxTokensDefault,
    ...(system.length > 0 ? { system: plain(system) } : {}),
    messages: messages as Anthropic.MessageParam[],
    ...(request.tools.length > 0 ? { tools: request.tools.map(writeTool), ...choiceField(request) } : {}),
    ...(request.stop.length > 0 ? { stop_sequences: request.stop } : {}),
    ...samplingFields(request),
    ...thinkingField(request, traits),
    ...outputField(request, traits),
    ...(request.stream ? { stream: true } : {}),
  } satisfies Body;
  return keepPrompt(body, request);
}

function problemsOf(request: PivotRequest): Problem[] {
  const problems: Problem[] = [];
  const add = (field: Parameters<typeof fieldOf>[1], message: string) =>
    problems.push({ field: fieldOf(request, field), message });
  if (request.responseFormat === 'json') {
    add('responseFormat', 'JSON without a schema has no counterpart for this model; give a json_schema');
  }
  if ((request.temperature ?? 0) > 1) add('temperature', 'is above 1, the most that this model takes');
  if (request.stop.some((text) => text.trim() === '')) {
    add('stop', 'has a text of white space only, at which this model cannot stop');
  }
  return problems;
}

/** A conversation begins and ends with what was said to the model. */
function turnProblems(request: PivotRequest, turns: readonly Turn[]): Problem[] {
  const said = turns.filter(({ role }) => role !== 'system');
  const field = fieldOf(request, 'messages');
  if (said.length === 0) return [{ field, message: 'has nothing for the model to answer: all texts are empty' }];
  if (said[0]?.role === 'assistant') {
    return [{ field: `${field}.0`, message: "is the assistant's; for this model the user speaks first" }];
  }
  if (said.at(-1)?.role === 'assistant') {
    return [{ field, message: 'end with the assistant; for this model the user speaks last' }];
  }
  return [];
}

/** A tool that is held to its schema has one as structured outputs take it. */
const writeTool = ({ name, description, schema, strict, cache }: PivotTool): Anthropic.Tool => ({
  name,
  ...(description === undefined ? {} : { description }),
  input_schema: { ...(strict ? fitSchema(schema) : schema), type: 'object' },
  ...(strict === undefined ? {} : { strict }),
  ...markOf(cache),
});

function choiceField({ toolChoice, parallelToolCalls }: PivotRequest): Fields {
  const alone = parallelToolCalls === undefined ? {} : { disable_parallel_tool_use: !parallelToolCalls };
  if (typeof toolChoice === 'object') return { tool_choice: { type: 'tool', name: toolChoice.name, ...alone } };
  if (toolChoice === 'none') return { tool_choice: { type: 'none' } };
  if (toolChoice === 'required') return { tool_choice: { type: 'any', ...alone } };
  return parallelToolCalls === undefined ? {} : { tool_choice: { type: 'auto', ...alone } };
}

/** Claude 4.1 and later take temperature or top_p, not both (migration guides of Anthropic, read 2026-11-30). */
const samplingFields = ({ temperature, topP, topK }: PivotRequest): Sampling => ({
  ...(temperature === undefined ? {} : { temperature }),
  ...(topP === undefined || temperature !== undefined ? {} : { top_p: topP }),
  ...(topK === undefined ? {} : { top_k: topK }),
});

function thinkingField({ reasoningEffort }: PivotRequest, { no_thinking = 'disabled' }: ModelTraits): Fields {
  return reasoningEffort === 'none' && no_thinking !== 'none' ? { thinking: { type: no_thinking } } : {};
}

function outputField(request: PivotRequest, { efforts = claudeEfforts }: ModelTraits): Fields {
  const { reasoningEffort: asked, responseFormat: format } = request;
  const nearest = asked === undefined || asked === 'none' ? undefined : nearestEffort(asked, efforts);
  const effort = claudeEfforts.find((each) => each === nearest);
  const isHeld = typeof format === 'object' && !isInWords(request);
  if (effort === undefined && !isHeld) return {};
  return {
    output_config: {
      ...(effort === undefined ? {} : { effort }),
      ...(isHeld ? { format: { type: 'json_schema', schema: fitSchema(format.schema) } } : {}),
    },
  };
}

const claudeEfforts = ['low', 'medium', 'high', 'xhigh', 'max'] as const;

/** This wire holds an answer to a schema of closed objects alone. A schema that is no order, and open, is said in words. */
const isInWords = ({ responseFormat: format }: PivotRequest): boolean =>
  typeof format === 'object' && !format.strict && isOpen(format.schema);

function wordsOf(request: PivotRequest): TextPart[] {
  const { responseFormat: format } = request;
  if (typeof format !== 'object' || !isInWords(request)) return [];
  const text = `Answer with nothing but JSON that fits this JSON Schema:\n${JSON.stringify(format.schema)}`;
  return [{ type: 'text', text }];
}
