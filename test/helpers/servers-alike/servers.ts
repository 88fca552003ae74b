import { randomBytes } from 'node:crypto';
import type { Turn } from './script.ts';
import { halves } from './script.ts';

type Message = {
  role: string;
  content?: unknown;
  reasoning_content?: unknown;
  tool_call_id?: string;
  tool_calls?: { id: string; function: { name: string; arguments: unknown } }[];
};

/** A server that speaks OpenAI's chat completions in its own way. */
export type ServerAlike = {
  name: string;
  /** What models.toml says of its models. */
  traits?: string;
  /** An event stream. */
  stream(turn: Turn): string;
  /** A whole answer. */
  whole(turn: Turn): object;
  /** What it says to a conversation that it refuses; undefined: it takes it. */
  refusal(messages: readonly Message[]): string | undefined;
};

const hex = (bytes: number) => randomBytes(bytes).toString('hex');
const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const done = 'data: [DONE]\n\n';
const usage = { prompt_tokens: 50, completion_tokens: 20, total_tokens: 70 };
const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm', system_fingerprint: 'fp' };
const chunk = (delta: object, finish_reason: string | null = null, more: object = {}) =>
  data({ ...head, ...more, choices: [{ index: 0, delta, logprobs: null, finish_reason }] });
const usageChunk = data({ ...head, choices: [], usage });
const reasonOf = ({ calls }: Turn) => (calls.length > 0 ? 'tool_calls' : 'stop');
const wholeOf = (message: object, finish_reason: string | null, more: object = {}) => ({
  ...{ ...head, object: 'chat.completion', usage },
  choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason, ...more }],
});
const callsOf = (turn: Turn, idOf: () => string) =>
  turn.calls.map(({ name, args }) => ({ id: idOf(), name, json: JSON.stringify(args) }));
const none = () => undefined;

/** vLLM: a name first, its arguments in pieces, thinking as `reasoning` and by its older name at once, usage in every chunk, lists that are empty. */
export const vllm: ServerAlike = {
  name: 'vLLM',
  stream: (turn) =>
    [
      chunk({ role: 'assistant', content: '' }, null, { usage: { ...usage, completion_tokens: 0, total_tokens: 50 } }),
      ...halves(turn.thinking).map((part) =>
        chunk({ reasoning: part, reasoning_content: part }, null, { usage: { ...usage, completion_tokens: 5 } }),
      ),
      ...halves(turn.text).map((content) => chunk({ content, tool_calls: [] })),
      ...callsOf(turn, () => `chatcmpl-tool-${hex(16)}`).flatMap(({ id, name, json }, index) => [
        chunk({ tool_calls: [{ id, type: 'function', index, function: { name } }] }),
        ...halves(json).map((part) => chunk({ tool_calls: [{ index, function: { arguments: part } }] })),
        chunk({ content: '' }),
      ]),
      data({
        ...head,
        choices: [
          { index: 0, delta: { content: '' }, logprobs: null, finish_reason: reasonOf(turn), stop_reason: null },
        ],
      }),
      usageChunk,
      done,
    ].join(''),
  whole: (turn) =>
    wholeOf(
      {
        content: turn.text || null,
        reasoning: turn.thinking,
        reasoning_content: turn.thinking,
        refusal: null,
        annotations: null,
        function_call: null,
        tool_calls: callsOf(turn, () => `chatcmpl-tool-${hex(16)}`).map(({ id, name, json }) => ({
          ...{ id, type: 'function', function: { name, arguments: json } },
        })),
      },
      reasonOf(turn),
      { logprobs: null, stop_reason: null },
    ),
  refusal: none,
};

/** Ollama: each call whole in a chunk of its own, all of them at index 0 (ollama#15457), the role in every delta, thinking as `reasoning`. */
export const ollama: ServerAlike = {
  name: 'Ollama',
  stream: (turn) =>
    [
      ...halves(turn.thinking).map((reasoning) => chunk({ role: 'assistant', content: '', reasoning })),
      ...halves(turn.text).map((content) => chunk({ role: 'assistant', content })),
      ...callsOf(turn, () => `call_${hex(4)}`).map(({ id, name, json }) =>
        chunk({
          role: 'assistant',
          content: '',
          tool_calls: [{ id, index: 0, type: 'function', function: { name, arguments: json } }],
        }),
      ),
      // Older ones say "stop" for calls, too.
      chunk({ role: 'assistant', content: '' }, 'stop'),
      usageChunk,
      done,
    ].join(''),
  whole: (turn) =>
    wholeOf(
      {
        content: turn.text,
        reasoning: turn.thinking,
        ...(turn.calls.length > 0 && {
          tool_calls: callsOf(turn, () => `call_${hex(4)}`).map(({ id, name, json }) => ({
            ...{ id, index: 0, type: 'function', function: { name, arguments: json } },
          })),
        }),
      },
      'stop',
    ),
  refusal: none,
};

/** Older Ollama, and what stands before its own API: no index, no ids, arguments as objects. */
export const ollamaOlder: ServerAlike = {
  name: 'Ollama, older',
  stream: (turn) =>
    [
      ...halves(turn.text).map((content) => chunk({ role: 'assistant', content })),
      ...turn.calls.map(({ name, args }) =>
        chunk({ role: 'assistant', content: '', tool_calls: [{ function: { name, arguments: args } }] }),
      ),
      chunk({ role: 'assistant', content: '' }, 'stop'),
      done,
    ].join(''),
  whole: (turn) =>
    wholeOf(
      {
        content: turn.text,
        tool_calls: turn.calls.map(({ name, args }) => ({ id: '', function: { name, arguments: args } })),
      },
      'stop',
    ),
  refusal: none,
};

/** llama.cpp's server: thinking as `reasoning_content`, a name with empty arguments first, `timings`, usage with the last chunk. */
export const llamaCpp: ServerAlike = {
  name: 'llama.cpp',
  stream: (turn) =>
    [
      chunk({ role: 'assistant', content: null }),
      ...halves(turn.thinking).map((part) => chunk({ reasoning_content: part }, null, { timings: { predicted_n: 1 } })),
      ...halves(turn.text).map((content) => chunk({ content })),
      ...callsOf(turn, () => hex(16)).flatMap(({ id, name, json }, index) => [
        chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
        ...halves(json).map((part) => chunk({ tool_calls: [{ index, function: { arguments: part } }] })),
      ]),
      chunk({}, reasonOf(turn)),
      data({ ...head, choices: [], usage, timings: { prompt_n: 50, predicted_n: 20 } }),
      done,
    ].join(''),
  whole: (turn) =>
    wholeOf(
      {
        content: turn.text || null,
        reasoning_content: turn.thinking,
        ...(turn.calls.length > 0 && {
          tool_calls: callsOf(turn, () => hex(16)).map(({ id, name, json }) => ({
            ...{ type: 'function', function: { name, arguments: json }, id },
          })),
        }),
      },
      reasonOf(turn),
    ),
  refusal: none,
};

/** llama.cpp's server until May 2025 (llama.cpp#13800): the name in every piece, the id in the function. */
export const llamaCppOlder: ServerAlike = {
  ...llamaCpp,
  name: 'llama.cpp, older',
  stream: (turn) =>
    [
      ...halves(turn.text).map((content) => chunk({ content })),
      ...callsOf(turn, () => hex(16)).flatMap(({ id, name, json }, index) =>
        halves(json).map((part) => chunk({ tool_calls: [{ index, function: { id, name, arguments: part } }] })),
      ),
      chunk({}, reasonOf(turn)),
      usageChunk,
      done,
    ].join(''),
};

/** DeepSeek: comments while it waits, both kinds of content in every delta, usage with the last chunk. It wants the thinking of calls back. */
export const deepSeek: ServerAlike = {
  name: 'DeepSeek',
  stream: (turn) =>
    [
      ': keep-alive\n\n: keep-alive\n\n',
      chunk({ role: 'assistant', content: null, reasoning_content: '' }),
      ...halves(turn.thinking).map((part) => chunk({ content: null, reasoning_content: part })),
      ...halves(turn.text).map((content) => chunk({ content, reasoning_content: null })),
      ...callsOf(turn, () => `call_00_${hex(12)}`).flatMap(({ id, name, json }, index) => [
        chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
        ...halves(json).map((part) => chunk({ tool_calls: [{ index, function: { arguments: part } }] })),
        ': keep-alive\n\n',
      ]),
      chunk({ content: '', reasoning_content: null }, reasonOf(turn), {
        usage: {
          ...usage,
          prompt_cache_hit_tokens: 0,
          prompt_cache_miss_tokens: 50,
          completion_tokens_details: { reasoning_tokens: 8 },
        },
      }),
      done,
    ].join(''),
  whole: (turn) =>
    wholeOf(
      {
        content: turn.text,
        reasoning_content: turn.thinking,
        ...(turn.calls.length > 0 && {
          tool_calls: callsOf(turn, () => `call_00_${hex(12)}`).map(({ id, name, json }, index) => ({
            ...{ index, id, type: 'function', function: { name, arguments: json } },
          })),
        }),
      },
      reasonOf(turn),
    ),
  // "Thinking Mode" of its guides (2026-11-30).
  refusal: (messages) =>
    messages.some(({ tool_calls, reasoning_content }) => tool_calls && typeof reasoning_content !== 'string')
      ? 'Missing `reasoning_content` field in the assistant message'
      : undefined,
};

/** Mistral: thinking as a list of parts, all calls whole in one chunk with the reason and the usage. Ids of calls have nine letters and digits. */
export const mistral: ServerAlike = {
  name: 'Mistral',
  traits: 'call_ids = "nine"',
  stream: (turn) =>
    [
      chunk({ role: 'assistant', content: '' }),
      ...halves(turn.thinking).map((text) =>
        chunk({ content: [{ type: 'thinking', thinking: [{ type: 'text', text }], closed: false }] }),
      ),
      ...(turn.text === '' ? [] : [chunk({ content: [{ type: 'text', text: halves(turn.text)[0] }] })]),
      ...halves(turn.text)
        .slice(1)
        .map((content) => chunk({ content })),
      chunk(
        {
          content: '',
          ...(turn.calls.length > 0 && {
            tool_calls: callsOf(turn, mistralId).map(({ id, name, json }, index) => ({
              ...{ id, function: { name, arguments: json }, index },
            })),
          }),
        },
        reasonOf(turn),
        { usage },
      ),
      done,
    ].join(''),
  whole: (turn) =>
    wholeOf(
      {
        content: [
          { type: 'thinking', thinking: [{ type: 'text', text: turn.thinking }], closed: true },
          ...(turn.text === '' ? [] : [{ type: 'text', text: turn.text }]),
        ],
        tool_calls:
          turn.calls.length === 0
            ? null
            : callsOf(turn, mistralId).map(({ id, name, json }, index) => ({
                ...{ id, function: { name, arguments: json }, index },
              })),
      },
      reasonOf(turn),
    ),
  // As mistral-common judges them (see `callIdOf`).
  refusal: (messages) =>
    messages
      .flatMap(({ tool_call_id = [], tool_calls = [] }) => [tool_call_id, ...tool_calls.map(({ id }) => id)].flat())
      .filter((id) => !/^[a-zA-Z0-9]{9}$/.test(id))
      .map((id) => `Tool call id was ${id} but must be a-z, A-Z, 0-9, with a length of 9.`)[0],
};

const mistralId = () => hex(5).slice(0, 9);

export const serversAlike = [vllm, ollama, ollamaOlder, llamaCpp, llamaCppOlder, deepSeek, mistral] as const;
