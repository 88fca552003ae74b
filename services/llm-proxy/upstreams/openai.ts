import OpenAI from 'openai';
import type { ChatMessage, ChatRequest } from '#shared/contracts/llm.ts';
import type { Traits } from '../models/schema.ts';
import type { Endpoint } from '../models/target.ts';
import { responsesOnlyProblems } from '../wires/openai-chat/responses-only.ts';
import { untranslatable } from '../wires/read.ts';
import type { Parts, RawCall } from './answer.ts';
import { createMeter, toCompletion } from './answer.ts';
import { callUpstream } from './failures.ts';
import type { Provider } from './provider.ts';
import { fetchFor } from './provider.ts';

/** What OpenAI takes as a key of its prompt cache, and as an id at all. */
const cacheKeyCharsMax = 64;

/** OpenAI's chat completions, and everything that speaks them (Ollama, vLLM, llama.cpp), through OpenAI's own SDK. */
export function createOpenAi(endpoint: Endpoint): Provider {
  const { upstream, official, baseUrl, timeoutMs } = endpoint;
  const client = new OpenAI({
    apiKey: 'none',
    adminAPIKey: null,
    baseURL: baseUrl,
    maxRetries: 0,
    // The call's own signal ends it; the SDK's limit is for what that misses.
    timeout: timeoutMs + 1_000,
    logLevel: 'off',
    fetch: fetchFor(endpoint),
  });
  // OpenAI's newer models refuse the old name, other servers do not know the new one.
  const limitName = official ? 'max_completion_tokens' : 'max_tokens';
  return {
    async complete(request, { model, signal, maxOutputTokens, traits, onBegin, onText }) {
      const own = official ? cacheKeyOf(request) : {};
      const body = { ...toBody(request, traits), ...own, model, [limitName]: maxOutputTokens };
      return callUpstream(
        upstream,
        signal,
        () => client.chat.completions.create(body, { signal }).withResponse(),
        onBegin,
        async (chunks) => {
          const parts = await read(upstream.label, chunks, onText);
          return toCompletion(upstream.label, { ...parts, model: parts.model || model });
        },
      );
    },
  };
}

function toBody({ system, messages, tools, toolChoice, temperature }: ChatRequest, traits: Traits) {
  const problems = responsesOnlyProblems(tools, traits);
  if (problems.length > 0) throw untranslatable(problems);
  const forced = toolChoice === 'auto' ? undefined : toolChoice.name;
  const effort = tools.length > 0 ? traits.tools_reasoning_effort : undefined;
  const first = system ? [{ role: 'system' as const, content: system }] : [];
  return {
    messages: [...first, ...withImages(messages)],
    ...(tools.length > 0 ? { tools: tools.map(toTool) } : {}),
    ...(forced === undefined ? {} : { tool_choice: { type: 'function' as const, function: { name: forced } } }),
    ...(temperature !== undefined && traits.temperature ? { temperature } : {}),
    ...(effort ? { reasoning_effort: effort } : {}),
    stream: true as const,
    stream_options: { include_usage: true },
  };
}

/** Calls that begin alike find what OpenAI keeps of their prompt if they come with one key. */
function cacheKeyOf({ context, runId }: ChatRequest): { prompt_cache_key?: string } {
  const key = context?.id ?? runId;
  return key === undefined ? {} : { prompt_cache_key: key.slice(-cacheKeyCharsMax) };
}

const toTool = ({ name, description, inputSchema }: ChatRequest['tools'][number]) => ({
  type: 'function' as const,
  function: { name, description, parameters: inputSchema },
});

/** On this wire a tool's result is a text: its pictures follow the results of the turn, as a person's would. */
function withImages(messages: readonly ChatMessage[]): OpenAI.ChatCompletionMessageParam[] {
  const said: OpenAI.ChatCompletionMessageParam[] = [];
  let images: OpenAI.ChatCompletionContentPartImage[] = [];
  for (const message of [...messages, undefined]) {
    if (message?.role !== 'tool' && images.length > 0) {
      said.push({ role: 'user', content: images });
      images = [];
    }
    if (!message) continue;
    said.push(toMessage(message));
    if (message.role === 'tool' && message.image) {
      const { mediaType, base64 } = message.image;
      images.push({ type: 'image_url', image_url: { url: `data:${mediaType};base64,${base64}` } });
    }
  }
  return said;
}

function toMessage(message: ChatMessage): OpenAI.ChatCompletionMessageParam {
  switch (message.role) {
    case 'user':
      return { role: 'user', content: message.text };
    case 'tool':
      // There is no flag for it on this wire.
      return {
        role: 'tool',
        tool_call_id: message.callId,
        content: `${message.isError ? 'Error: ' : ''}${message.text}`,
      };
    case 'assistant': {
      const calls = message.toolCalls.map(({ callId, tool, args }) => ({
        id: callId,
        type: 'function' as const,
        function: { name: tool, arguments: JSON.stringify(args) },
      }));
      return calls.length > 0
        ? { role: 'assistant', content: message.text || null, tool_calls: calls }
        : { role: 'assistant', content: message.text };
    }
  }
}

const stopReasons: Record<string, Parts['stopReason']> = {
  tool_calls: 'tool-calls',
  function_call: 'tool-calls',
  length: 'length',
  content_filter: 'refusal',
};

async function read(
  label: string,
  chunks: AsyncIterable<OpenAI.ChatCompletionChunk>,
  onText: ((text: string) => void) | undefined,
): Promise<Parts> {
  const spend = createMeter(label);
  const calls = new Map<number, RawCall>();
  const parts: Parts = { model: '', text: '', calls: [], stopReason: undefined, usage: undefined };
  let refused = false;
  for await (const chunk of chunks) {
    const choice = chunk.choices[0];
    const { content, refusal, tool_calls } = choice?.delta ?? {};
    spend((content?.length ?? 0) + (refusal?.length ?? 0));
    parts.model ||= chunk.model;
    const said = (content ?? '') + (refusal ?? '');
    parts.text += said;
    if (said) onText?.(said);
    refused ||= Boolean(refusal);
    for (const delta of tool_calls ?? []) extend(calls, delta, spend);
    if (chunk.usage) parts.usage = usageOf(chunk.usage);
    if (choice?.finish_reason) parts.stopReason = stopReasons[choice.finish_reason] ?? 'end';
  }
  if (refused && parts.stopReason) parts.stopReason = 'refusal';
  return { ...parts, calls: [...calls.values()] };
}

type CallDelta = OpenAI.ChatCompletionChunk.Choice.Delta.ToolCall;

/** Some servers leave out a call's id or place; a call without either is the next one. */
function extend(calls: Map<number, RawCall>, delta: Partial<CallDelta>, spend: (chars: number) => void): void {
  const index = delta.index ?? calls.size;
  const call = calls.get(index) ?? { callId: delta.id || `call_${index + 1}`, tool: '', json: '' };
  spend((delta.function?.name?.length ?? 0) + (delta.function?.arguments?.length ?? 0));
  call.tool += delta.function?.name ?? '';
  call.json += delta.function?.arguments ?? '';
  calls.set(index, call);
}

const usageOf = ({ prompt_tokens, completion_tokens, prompt_tokens_details }: OpenAI.CompletionUsage) => ({
  inputTokens: prompt_tokens,
  outputTokens: completion_tokens,
  cachedInputTokens: prompt_tokens_details?.cached_tokens ?? 0,
  cacheWriteTokens: prompt_tokens_details?.cache_write_tokens ?? 0,
});
