import type { ChatMessage, ChatRequest } from '#shared/contracts/llm.ts';
import { breakpointsOf } from '../anthropic/prompt-cache.ts';
import type { CacheMark, PivotMessage, PivotRequest } from '../pivot.ts';
import { withReasoning } from './reasoning.ts';

const kept: CacheMark = { type: 'ephemeral' };

/** A call over toka.llm.chat. `maxTokens`: what its answer may have at most. */
export function readRequest(request: ChatRequest, maxTokens: number): PivotRequest {
  const { model = '', system, messages, tools, toolChoice, temperature, context, runId } = request;
  const keep = breakpointsOf(request);
  const mark = (isKept: boolean) => (isKept ? { cache: kept } : {});
  return {
    wire: 'contract',
    model,
    system: system === '' ? [] : [{ type: 'text', text: system, ...mark(keep.system) }],
    messages: messages.map((message, place) => toMessage(message, keep.after.has(place) ? kept : undefined)),
    tools: tools.map(({ name, description, inputSchema }, place) => {
      // A tool's arguments are an object, whatever its schema says of them.
      const schema = { ...inputSchema, type: 'object' };
      return { name, description, schema, ...mark(keep.tools && place === tools.length - 1) };
    }),
    toolChoice,
    parallelToolCalls: undefined,
    maxTokens,
    temperature,
    topP: undefined,
    topK: undefined,
    stop: [],
    responseFormat: 'text',
    reasoningEffort: undefined,
    verbosity: undefined,
    stream: true,
    includeUsage: true,
    promptCacheKey: context?.id ?? runId,
  };
}

function toMessage(message: ChatMessage, cache: CacheMark | undefined): PivotMessage {
  const mark = cache ? { cache } : {};
  switch (message.role) {
    case 'user':
      return { role: 'user', parts: [{ type: 'text', text: message.text, ...mark }] };
    case 'tool': {
      const { callId, text, isError, image } = message;
      const said = text === '' ? [] : [{ type: 'text' as const, text }];
      const source = image && { kind: 'base64' as const, mediaType: image.mediaType, data: image.base64 };
      const seen = source ? [{ type: 'image' as const, source }] : [];
      return { role: 'tool', callId, parts: [...said, ...seen], isError, ...mark };
    }
    case 'assistant': {
      const { text, toolCalls, reasoning } = message;
      const said = text === '' ? [] : [{ type: 'text' as const, text, ...(toolCalls.length === 0 ? mark : {}) }];
      const calls = toolCalls.map(({ callId, tool, args, json }, place) => {
        const call = { type: 'toolCall' as const, id: callId, name: tool, args: json ?? JSON.stringify(args) };
        return place === toolCalls.length - 1 ? { ...call, ...mark } : call;
      });
      return { role: 'assistant', parts: withReasoning(reasoning, said, calls) };
    }
  }
}
