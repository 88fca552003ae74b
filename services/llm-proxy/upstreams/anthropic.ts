import Anthropic from '@anthropic-ai/sdk';
import type { ChatRequest } from '#shared/contracts/llm.ts';
import type { Traits } from '../models/schema.ts';
import type { Endpoint } from '../models/target.ts';
import { breakpointsOf } from '../wires/anthropic/prompt-cache.ts';
import type { Block } from '../wires/anthropic/reasoning.ts';
import { kept, packReasoning, toMessages } from '../wires/anthropic/reasoning.ts';
import type { Parts } from './answer.ts';
import { createMeter, toCompletion } from './answer.ts';
import { callUpstream } from './failures.ts';
import type { Provider } from './provider.ts';
import { fetchFor } from './provider.ts';

/** Anthropic's Messages API through its own SDK. */
export function createAnthropic(endpoint: Endpoint): Provider {
  const { upstream, baseUrl, timeoutMs } = endpoint;
  const client = new Anthropic({
    apiKey: 'none',
    authToken: null,
    baseURL: baseUrl,
    maxRetries: 0,
    // The call's own signal ends it; the SDK's limit is for what that misses.
    timeout: timeoutMs + 1_000,
    logLevel: 'off',
    fetch: fetchFor(endpoint),
  });
  return {
    async complete(request, { model, signal, maxOutputTokens, traits, onBegin, onPiece, onText }) {
      const body = { ...toBody(request, traits), model, max_tokens: maxOutputTokens, stream: true as const };
      return callUpstream(
        upstream,
        signal,
        () => client.messages.create(body, { signal }).withResponse(),
        onBegin,
        async (events) => toCompletion(upstream.label, await read(upstream.label, events, onText)),
        onPiece,
      );
    },
  };
}

function toBody(request: ChatRequest, traits: Traits) {
  const { system, messages, tools, toolChoice, temperature } = request;
  const forced = toolChoice === 'auto' ? undefined : toolChoice.name;
  const asked = forced !== undefined && !traits.forced_tools ? forced : undefined;
  const keep = breakpointsOf(request);
  const offered = tools.map(toTool);
  const last = offered.at(-1);
  if (keep.tools && last) last.cache_control = kept;
  return {
    ...(system
      ? { system: keep.system ? [{ type: 'text' as const, text: system, cache_control: kept }] : system }
      : {}),
    messages: toMessages(messages, asked, keep.after),
    ...(offered.length > 0 ? { tools: offered } : {}),
    ...(forced !== undefined && !asked ? { tool_choice: { type: 'tool' as const, name: forced } } : {}),
    ...(temperature !== undefined && traits.temperature ? { temperature } : {}),
  };
}

const toTool = ({ name, description, inputSchema }: ChatRequest['tools'][number]): Anthropic.Tool => ({
  name,
  description,
  input_schema: { ...inputSchema, type: 'object' },
});

const stopReasons = {
  end_turn: 'end',
  stop_sequence: 'end',
  pause_turn: 'end',
  tool_use: 'tool-calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  refusal: 'refusal',
} as const;

async function read(
  label: string,
  events: AsyncIterable<Anthropic.RawMessageStreamEvent>,
  onText: ((text: string) => void) | undefined,
): Promise<Parts> {
  const spend = createMeter(label);
  const blocks = new Map<number, Block>();
  let started: Anthropic.Message | undefined;
  let last: Anthropic.RawMessageDeltaEvent | undefined;
  let stopped = false;
  for await (const event of events) {
    spend(0);
    if (event.type === 'message_start') started = event.message;
    else if (event.type === 'content_block_start') begin(blocks, event, spend);
    else if (event.type === 'content_block_delta') extend(blocks.get(event.index), event.delta, spend);
    else if (event.type === 'message_delta') last = event;
    else if (event.type === 'message_stop') stopped = true;
    const said = onText && textOf(event);
    if (said) onText?.(said);
  }
  const content = [...blocks.entries()].sort(([a], [b]) => a - b).map(([, block]) => block);
  const reason = last?.delta.stop_reason;
  return {
    model: started?.model ?? '',
    text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    calls: content.flatMap((block) => (block.type === 'tool_use' ? [block] : [])),
    stopReason: stopped && started && reason ? (stopReasons[reason] ?? 'end') : undefined,
    usage: started && usageOf(started.usage, last?.usage),
    reasoning: packReasoning(content),
  };
}

/** The text that an event brings; thinking is none. */
function textOf(event: Anthropic.RawMessageStreamEvent): string {
  if (event.type === 'content_block_start') return event.content_block.type === 'text' ? event.content_block.text : '';
  return event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : '';
}

type Spend = (chars: number) => void;

function begin(
  blocks: Map<number, Block>,
  { index, content_block: block }: Anthropic.RawContentBlockStartEvent,
  spend: Spend,
) {
  switch (block.type) {
    case 'text':
      spend(block.text.length);
      return blocks.set(index, { type: 'text', text: block.text });
    case 'thinking':
      return blocks.set(index, { type: 'thinking', thinking: '', signature: '' });
    case 'redacted_thinking':
      spend(block.data.length);
      return blocks.set(index, { type: 'redacted_thinking', data: block.data });
    case 'tool_use':
      return blocks.set(index, { type: 'tool_use', callId: block.id, tool: block.name, json: '' });
    default:
      return undefined;
  }
}

function extend(block: Block | undefined, delta: Anthropic.RawContentBlockDelta, spend: Spend) {
  if (delta.type === 'text_delta' && block?.type === 'text') {
    spend(delta.text.length);
    block.text += delta.text;
  } else if (delta.type === 'input_json_delta' && block?.type === 'tool_use') {
    spend(delta.partial_json.length);
    block.json += delta.partial_json;
  } else if (delta.type === 'thinking_delta' && block?.type === 'thinking') {
    spend(delta.thinking.length);
    block.thinking += delta.thinking;
  } else if (delta.type === 'signature_delta' && block?.type === 'thinking') {
    spend(delta.signature.length);
    block.signature = delta.signature;
  }
}

/** Anthropic counts cached input apart; we count it in. */
function usageOf(first: Anthropic.Usage, last: Anthropic.MessageDeltaUsage | undefined) {
  const read = last?.cache_read_input_tokens ?? first.cache_read_input_tokens ?? 0;
  const written = last?.cache_creation_input_tokens ?? first.cache_creation_input_tokens ?? 0;
  return {
    inputTokens: (last?.input_tokens ?? first.input_tokens) + read + written,
    outputTokens: last?.output_tokens ?? first.output_tokens,
    cachedInputTokens: read,
    cacheWriteTokens: written,
  };
}
