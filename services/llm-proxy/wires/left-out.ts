import type { WireName } from './pivot.ts';

/** Why a field is left out, or what it may be without meaning anything. */
type Hints = Record<string, string>;

type Table = {
  /** Fields of the request that are left out: they say how to run or to bill, not what to answer. */
  request: Hints;
  /** The same within messages, their parts, and tools. */
  inner: Hints;
  /** Values that say no more than the field's absence does. Any other value is refused. */
  neutral: Record<string, readonly unknown[]>;
};

const caching = 'a hint to the prompt cache of one provider';
const person = 'names the person behind the request to one provider';
// What its stream helpers give is what people put into the next request (openai 7.57).
const parsed = 'what the SDK of OpenAI made of an earlier answer, which is beside it';
const place = 'how one provider schedules and bills';

/**
 * The one table of what a translation leaves out. All else either has a counterpart or is refused by name. Some things are left
 * out by their kind: a thinking block or reasoning item of the history (signed: only its own model reads it), the thinking in an
 * answer (the other wires have no place for it), a text of nothing but white space (Anthropic refuses it), and for a Claude who
 * of several people speaks (`name`) and how wordy to be (`verbosity`).
 */
export const leftOut: Record<WireName, Table> = {
  'openai-chat': {
    request: {
      user: person,
      safety_identifier: person,
      metadata: 'is kept with a stored answer; none is stored',
      service_tier: place,
      prompt_cache_key: caching,
      prompt_cache_options: caching,
      prompt_cache_retention: caching,
      prediction: 'only makes the answer come sooner',
    },
    inner: {
      prompt_cache_breakpoint: caching,
      detail: 'how closely one provider looks at a picture',
      annotations: 'sources of an earlier answer, which are in its text too',
      reasoning_content: 'thinking of an earlier answer: only its own model reads it',
      parsed,
      parsed_arguments: parsed,
    },
    neutral: {
      n: [1],
      logprobs: [false],
      top_logprobs: [0],
      store: [false],
      frequency_penalty: [0],
      presence_penalty: [0],
      logit_bias: [{}],
      modalities: [['text']],
      functions: [[]],
    },
  },
  'openai-responses': {
    request: {
      user: person,
      safety_identifier: person,
      metadata: 'is kept with a stored answer; none is stored',
      service_tier: place,
      prompt_cache_key: caching,
      prompt_cache_options: caching,
      prompt_cache_retention: caching,
      client_metadata: 'says which client this is, and what for',
      max_tool_calls: 'counts calls of hosted tools; there are none',
    },
    inner: {
      prompt_cache_breakpoint: caching,
      detail: 'how closely one provider looks at a picture',
      annotations: 'sources of an earlier answer, which are in its text too',
      logprobs: 'belongs to an earlier answer',
      parsed,
      parsed_arguments: parsed,
      id: 'names an item that is not stored',
      status: 'an item of the history is as it is',
      phase: 'where in an earlier answer a message stood',
      summary: 'thinking is not shown',
      generate_summary: 'thinking is not shown',
      context: 'whose thinking of earlier turns is used: none of it is sent on',
      defer_loading: 'a tool that waits for a search is shown at once',
      allowed_callers: 'the model calls each tool itself',
      async: 'when a result may come is between the client and its tool',
      output_schema: 'what a tool answers, which its result shows',
      include_obfuscation: 'hides lengths on the wire of one provider',
    },
    neutral: {
      background: [false],
      store: [false, true],
      truncation: ['disabled'],
      top_logprobs: [0],
      include: [[], ['reasoning.encrypted_content']],
      context_management: [[]],
    },
  },
  anthropic: {
    request: {
      metadata: person,
      user_profile_id: person,
      workspace_id: place,
      service_tier: place,
      inference_geo: place,
      speed: place,
      billing_policy: place,
      cache_control: caching,
      diagnostics: 'asks about the prompt cache of one provider',
      context_management: 'what one provider takes out of a history that has grown long; all of it is sent',
      fallbacks: 'whom one provider asks after a refusal',
      fallback_credit_token: place,
    },
    inner: {
      cache_control: caching,
      caller: 'says that the model itself called the tool',
      citations: 'sources of an earlier answer, which are in its text too, or whether to name some',
      eager_input_streaming: 'how one provider cuts its stream',
      task_budget: 'how one model shares out its strength over a long task',
    },
    neutral: { mcp_servers: [[]] },
  },
};

/**
 * Tools of OpenAI's own that are left out of a translation: the model does without them. `tool_search` finds tools that are
 * deferred, and those are shown at once.
 */
export const leftOutTools = [
  ...(['web_search', 'web_search_2025_08_26', 'web_search_preview', 'web_search_preview_2025_03_11'] as const),
  'tool_search',
] as const;

/** Items of a history that are left out. */
export const leftOutItems = ['reasoning', 'web_search_call', 'tool_search_call', 'tool_search_output'] as const;
