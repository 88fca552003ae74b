import type Anthropic from '@anthropic-ai/sdk';
import { isThoughtBy } from '../conversation.ts';
import type { CacheMark, CallPart, FilePart, ImagePart, PivotMessage, TextPart, ThinkingPart } from '../pivot.ts';
import { parseArgs } from '../read.ts';
import { idOf } from './call-id.ts';

type Plain = Anthropic.TextBlockParam | Anthropic.ImageBlockParam | Anthropic.DocumentBlockParam;
type Block =
  | Plain
  | Anthropic.ToolUseBlockParam
  | Anthropic.ToolResultBlockParam
  | Anthropic.ThinkingBlockParam
  | Anthropic.RedactedThinkingBlockParam;
export type Turn = { role: 'user' | 'assistant' | 'system'; content: Block[] };

type Options = {
  model: string;
  /** Whether it takes the role `system`. */
  systemMessages: boolean;
};

type Builder = Options & {
  turns: Turn[];
  /** Calls that have no result yet: nothing may stand between them and it. */
  open: Set<string>;
  /** What the system said, until there is a place for it. */
  waiting: Anthropic.TextBlockParam[];
};

/**
 * Messages of one role are one turn; in it the results of tools come first, and whatever else was said follows.
 *
 * Placement of system messages, as Anthropic documents them (Mid-conversation system messages, read 2026-11-30): each stands right
 * behind a user's turn, at the end or before an assistant's turn, and never beside another one. So it moves behind the turn in
 * which it was said. A model that knows none, or a place where there can be none, gets the same words in the user's turn.
 */
export function turnsOf(messages: readonly PivotMessage[], options: Options): Turn[] {
  const builder: Builder = { ...options, turns: [], open: new Set(), waiting: [] };
  for (const message of messages) take(builder, message);
  placeSystem(builder);
  return builder.turns.map(resultsFirst);
}

function take(builder: Builder, message: PivotMessage): void {
  const { open, model, systemMessages } = builder;
  const content =
    message.role === 'tool' ? [writeResult(message)] : message.parts.flatMap((part) => writeSaid(part, model));
  if (content.length === 0) return;
  if (message.role === 'tool') open.delete(idOf(message.callId));
  if (message.role === 'assistant') {
    if (open.size === 0) placeSystem(builder);
    for (const block of content) if (block.type === 'tool_use') open.add(block.id);
  }
  if (message.role === 'system') builder.waiting.push(...content.filter((block) => block.type === 'text'));
  else add(builder, message.role === 'assistant' ? 'assistant' : 'user', content);
  if (!systemMessages && open.size === 0) placeSystem(builder);
}

function add({ turns }: Builder, role: Turn['role'], content: Block[]): void {
  if (content.length === 0) return;
  const last = turns.at(-1);
  if (last?.role === role) last.content.push(...content);
  else turns.push({ role, content });
}

function placeSystem(builder: Builder): void {
  const { turns, waiting, systemMessages } = builder;
  if (waiting.length === 0) return;
  if (systemMessages && turns.at(-1)?.role === 'user') turns.push({ role: 'system', content: waiting });
  else add(builder, 'user', waiting.map(asUserText));
  builder.waiting = [];
}

/** The tags tell the model whose words these are. */
const asUserText = (block: Anthropic.TextBlockParam): Anthropic.TextBlockParam => ({
  ...block,
  text: `<system>\n${block.text}\n</system>`,
});

function resultsFirst({ role, content }: Turn): Turn {
  const isResult = ({ type }: Block) => type === 'tool_result';
  return { role, content: [...content.filter(isResult), ...content.filter((block) => !isResult(block))] };
}

function writeResult({
  callId,
  parts,
  isError,
  cache,
}: Extract<PivotMessage, { role: 'tool' }>): Anthropic.ToolResultBlockParam {
  const content = parts.flatMap(writePlain);
  return {
    type: 'tool_result',
    tool_use_id: idOf(callId),
    ...(content.length > 0 ? { content: plain(content) } : {}),
    ...(isError ? { is_error: true } : {}),
    ...markOf(cache),
  };
}

/** The API wants the thinking of its model back as it was and where it was. */
function writeSaid(part: TextPart | ImagePart | FilePart | CallPart | ThinkingPart, model: string): Block[] {
  if (part.type !== 'thinking') return writePart(part);
  if (!isThoughtBy('anthropic', model, part)) return [];
  if (part.redacted !== undefined) return [{ type: 'redacted_thinking', data: part.redacted }];
  // What nobody has signed is refused.
  return part.signature === undefined ? [] : [{ type: 'thinking', thinking: part.text, signature: part.signature }];
}

function writePart(part: TextPart | ImagePart | FilePart | CallPart): Block[] {
  if (part.type !== 'toolCall') return writePlain(part);
  const input = parseArgs(part.args) ?? {};
  return [{ type: 'tool_use', id: idOf(part.id), name: part.name, input, ...markOf(part.cache) }];
}

function writePlain(part: TextPart | ImagePart | FilePart): Plain[] {
  switch (part.type) {
    case 'text':
      return writeText(part);
    case 'file': {
      const { mediaType, data, name } = part;
      const source = { type: 'base64' as const, media_type: mediaType, data };
      return [{ type: 'document', source, ...(name === undefined ? {} : { title: name }) }];
    }
    case 'image':
      return [{ type: 'image', source: writeSource(part.source), ...markOf(part.cache) }];
  }
}

const writeSource = (source: ImagePart['source']): Anthropic.ImageBlockParam['source'] =>
  source.kind === 'url'
    ? { type: 'url', url: source.url }
    : { type: 'base64', media_type: source.mediaType, data: source.data };

/** The API refuses a text of nothing but white space. */
export const writeText = ({ text, cache }: TextPart): Anthropic.TextBlockParam[] =>
  text.trim() === '' ? [] : [{ type: 'text', text, ...markOf(cache) }];

export const markOf = (cache: CacheMark | undefined): { cache_control?: CacheMark } =>
  cache ? { cache_control: cache } : {};

/** A single text goes as it is. */
export const plain = <B extends Plain>(blocks: B[]): string | B[] => {
  const [first] = blocks;
  return blocks.length === 1 && first?.type === 'text' && !first.cache_control ? first.text : blocks;
};
