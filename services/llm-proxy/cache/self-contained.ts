import { isObject } from '../wires/is-object.ts';
import type { CachedWire } from './key.ts';

type Fields = Readonly<Record<string, unknown>>;
type Check = (value: unknown) => boolean;
/** The fields of an object that may be there, and what must be true of them. */
type Known = Readonly<Record<string, Check>>;

const any: Check = () => true;
const nothing: Check = (value) => value === undefined || value === null || value === false;
const names = (...all: string[]): Known => Object.fromEntries(all.map((name) => [name, any]));
const every =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null || typeof value === 'string' || (Array.isArray(value) && value.every(check));
/** Of a kind that holds all that it says itself. */
const ofType =
  (types: ReadonlySet<unknown>, more: Check = any): Check =>
  (value) =>
    typeof value === 'string' || (isObject(value) && types.has(value.type) && more(value));

const sources: ReadonlySet<unknown> = new Set(['base64', 'url', 'text', 'content']);
const places = ['source', 'file', 'image_url', 'input_audio'];
/** Not a name of what the provider keeps, and no source that is one. */
const holdsItself: Check = (value) => {
  if (!isObject(value)) return true;
  const inner = places.map((place) => value[place]).filter(isObject);
  if ([value, ...inner].some((each) => 'file_id' in each && !nothing(each.file_id))) return false;
  return !isObject(value.source) || sources.has(value.source.type);
};

const sampling = ['temperature', 'top_p', 'top_k', 'stop', 'stop_sequences', 'seed', 'n', 'logprobs', 'top_logprobs'];
const penalties = ['frequency_penalty', 'presence_penalty', 'repetition_penalty', 'min_p', 'logit_bias'];
const lengths = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'verbosity', 'truncation'];
const choices = ['tool_choice', 'parallel_tool_calls', 'max_tool_calls', 'function_call', 'functions'];
const forms = ['response_format', 'text', 'output_config', 'output_format', 'prediction', 'include'];
const thoughts = ['reasoning', 'reasoning_effort', 'thinking'];
const filing = ['user', 'safety_identifier', 'metadata', 'client_metadata', 'service_tier', 'speed', 'inference_geo'];
const caching = ['prompt_cache_key', 'prompt_cache_retention', 'prompt_cache_options', 'cache_control'];
const common = names(
  ...['model', 'stream', 'stream_options'],
  ...[sampling, penalties, lengths, choices, forms, thoughts, filing, caching].flat(),
);

const chatParts = ofType(new Set(['text', 'image_url', 'input_audio', 'file', 'refusal']), holdsItself);
const chatTools = ofType(new Set(['function', 'custom']));
const responseParts = ofType(
  new Set(['input_text', 'output_text', 'refusal', 'input_image', 'input_file', 'summary_text', 'reasoning_text']),
  holdsItself,
);
const responseItems: ReadonlySet<unknown> = new Set([
  ...[undefined, 'message', 'reasoning', 'function_call', 'function_call_output'],
  ...['custom_tool_call', 'custom_tool_call_output'],
]);
const claudeParts: Check = ofType(
  new Set(['text', 'image', 'document', 'tool_use', 'tool_result', 'thinking', 'redacted_thinking', 'search_result']),
  (part) => holdsItself(part) && isObject(part) && (part.type !== 'tool_result' || every(claudeParts)(part.content)),
);
/** Tools that the client runs: its own, and those of which Anthropic gives the description. */
const claudeTools: Check = (tool) =>
  isObject(tool) && /^(custom|(bash|text_editor|computer|memory)_\d{8})$/.test(String(tool.type ?? 'custom'));
const messages =
  (parts: Check): Check =>
  (message) =>
    isObject(message) && every(parts)(message.content) && nothing(message.audio);

/**
 * What a request may have that brings all with it and does nothing at the provider. What is not named here may be kept there or begin
 * something: a conversation, a background job, a server's tools, files, containers, what a later version adds. Fields and kinds as in openai
 * 7.57 and @anthropic-ai/sdk 1.12, read 2026-11-30.
 */
const known: Record<CachedWire, Known> = {
  'openai-chat': { ...common, messages: every(messages(chatParts)), tools: every(chatTools), store: nothing },
  'openai-responses': {
    ...common,
    instructions: any,
    input: every(
      (item) =>
        isObject(item) &&
        responseItems.has(item.type) &&
        every(responseParts)(item.content) &&
        every(responseParts)(item.output),
    ),
    tools: every(ofType(new Set(['function', 'custom']))),
    store: nothing,
  },
  anthropic: {
    ...common,
    messages: every(messages(claudeParts)),
    system: every(ofType(new Set(['text']))),
    tools: every(claudeTools),
  },
  embeddings: names('model', 'input', 'dimensions', 'encoding_format', 'user'),
};

/** Whether a request's answer depends on nothing but itself, and leaves nothing behind: only then may another answer stand for it. */
export function isSelfContained(wire: CachedWire, body: Fields): boolean {
  const fields = known[wire];
  return Object.entries(body).every(
    ([name, value]) => nothing(value) || (Object.hasOwn(fields, name) && fields[name]?.(value) === true),
  );
}
