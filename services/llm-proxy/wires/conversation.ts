import type {
  CallPart,
  FilePart,
  ImagePart,
  PivotMessage,
  PivotRequest,
  TextPart,
  ThinkingPart,
  WireName,
} from './pivot.ts';
import { untranslatable } from './read.ts';

/** What is said before anything else by the system: the rest of the messages keeps its place. */
export function splitSystem(messages: readonly PivotMessage[]): { system: TextPart[]; messages: PivotMessage[] } {
  const first = messages.findIndex(({ role }) => role !== 'system');
  const head = first < 0 ? messages : messages.slice(0, first);
  return {
    system: head.flatMap((message) => (message.role === 'system' ? message.parts : [])),
    messages: first < 0 ? [] : messages.slice(first),
  };
}

/** One message for what an assistant said in several items. */
export function joinAssistant(messages: readonly PivotMessage[]): PivotMessage[] {
  const joined: PivotMessage[] = [];
  for (const message of messages) {
    const last = joined.at(-1);
    if (message.role === 'assistant' && last?.role === 'assistant') last.parts.push(...message.parts);
    else joined.push(message.role === 'assistant' ? { ...message, parts: [...message.parts] } : message);
  }
  return joined;
}

/** Checks what holds on every wire. Throws `invalid`. */
export function checked(request: PivotRequest): PivotRequest {
  const { toolChoice, tools, messages } = request;
  if ((toolChoice === 'required' || typeof toolChoice === 'object') && tools.length === 0) {
    throw untranslatable([{ field: 'tool_choice', message: 'asks for a tool, and `tools` has none' }]);
  }
  if (messages.length === 0) {
    throw untranslatable([{ field: fieldOf(request, 'messages'), message: 'has nothing for the model to answer' }]);
  }
  return request;
}

type Field =
  | 'messages'
  | 'responseFormat'
  | 'stop'
  | 'reasoningEffort'
  | 'verbosity'
  | 'topK'
  | 'temperature'
  | 'tools';

const fields: Record<Field, Record<PivotRequest['wire'], string>> = {
  messages: { 'openai-chat': 'messages', 'openai-responses': 'input', anthropic: 'messages', contract: 'messages' },
  responseFormat: {
    'openai-chat': 'response_format.type',
    'openai-responses': 'text.format.type',
    anthropic: 'output_config.format',
    contract: 'responseFormat',
  },
  stop: { 'openai-chat': 'stop', 'openai-responses': 'stop', anthropic: 'stop_sequences', contract: 'stop' },
  reasoningEffort: {
    'openai-chat': 'reasoning_effort',
    'openai-responses': 'reasoning.effort',
    anthropic: 'output_config.effort',
    contract: 'reasoningEffort',
  },
  verbosity: {
    'openai-chat': 'verbosity',
    'openai-responses': 'text.verbosity',
    anthropic: 'verbosity',
    contract: 'verbosity',
  },
  topK: { 'openai-chat': 'top_k', 'openai-responses': 'top_k', anthropic: 'top_k', contract: 'topK' },
  temperature: {
    'openai-chat': 'temperature',
    'openai-responses': 'temperature',
    anthropic: 'temperature',
    contract: 'temperature',
  },
  tools: { 'openai-chat': 'tools', 'openai-responses': 'tools', anthropic: 'tools', contract: 'tools' },
};

/** A field of the pivot as the client called it. */
export const fieldOf = ({ wire }: Pick<PivotRequest, 'wire'>, field: Field): string => fields[field][wire];

type Part = TextPart | CallPart | ImagePart | FilePart | ThinkingPart;

export const textsOf = (parts: readonly Part[]): TextPart[] => parts.filter((part) => part.type === 'text');
export const callsOf = (parts: readonly Part[]): CallPart[] => parts.filter((part) => part.type === 'toolCall');
export const imagesOf = (parts: readonly (TextPart | ImagePart | FilePart)[]): ImagePart[] =>
  parts.filter((part) => part.type === 'image');
/** Whether thinking may go back to this model of this wire: to any other it would be noise, or a signature that does not hold. */
export const isThoughtBy = (wire: WireName, model: string, part: ThinkingPart): boolean =>
  part.of === wire && (part.model === undefined || part.model === model);
/** All that was said, as one text. */
export const textOf = (parts: readonly { type: string; text?: string }[]): string =>
  parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
