import { z } from 'zod';
import type { CallPart, FilePart, ImagePart, PivotMessage, TextPart } from '../pivot.ts';
import { ArgsObject, HttpUrl, inner, MediaType, maybe, partsOf } from '../read.ts';
import { readThinking } from './carried-thinking.ts';
import type { EffortTurn } from './read-effort.ts';
import { ToolAddition, ToolRemoval } from './read-tools.ts';

const wire = 'anthropic';
const object = <S extends z.ZodRawShape>(shape: S) => inner(wire, shape);

type Shown = TextPart | ImagePart | FilePart;
const say = (text: string): TextPart => ({ type: 'text', text });

export const Text = object({ type: z.literal('text'), text: z.string() }).transform(({ text }): TextPart => say(text));

const Picture = object({
  type: z.literal('image'),
  source: z.discriminatedUnion('type', [
    object({ type: z.literal('base64'), media_type: MediaType, data: z.string().min(1) }),
    object({ type: z.literal('url'), url: HttpUrl }),
  ]),
  transformations: z.null().optional(),
}).transform(
  ({ source }): ImagePart => ({
    type: 'image',
    source:
      source.type === 'url'
        ? { kind: 'url', url: source.url }
        : { kind: 'base64', mediaType: source.media_type, data: source.data },
  }),
);

const Document = object({
  type: z.literal('document'),
  source: z.discriminatedUnion('type', [
    object({
      type: z.literal('base64'),
      media_type: z.literal('application/pdf', 'must be application/pdf'),
      data: z.string().min(1),
    }),
    object({ type: z.literal('text'), media_type: z.literal('text/plain').optional(), data: z.string() }),
    object({ type: z.literal('content'), content: partsOf(z.discriminatedUnion('type', [Text, Picture])) }),
    object({
      type: z.literal('url'),
      url: z.never('names a PDF on the web, which this model cannot fetch; send its data'),
    }),
  ]),
  title: z.string().nullish(),
  context: z.string().nullish(),
}).transform(({ source, title, context }): Shown[] => {
  const head = [title, context].filter((each) => each).map((each) => say(`${each}\n`));
  if (source.type === 'text') return [...head, say(source.data)];
  if (source.type === 'content') return [...head, ...source.content];
  if (source.type === 'url') return head;
  return [...head, { type: 'file', mediaType: source.media_type, data: source.data, name: title ?? undefined }];
});

const SearchResult = object({
  type: z.literal('search_result'),
  source: z.string(),
  title: z.string(),
  content: z.array(Text),
}).transform(({ source, title, content }): Shown[] => [say(`${title} (${source})\n`), ...content]);

const Call = object({
  type: z.literal('tool_use'),
  id: z.string().min(1),
  name: z.string().min(1),
  input: ArgsObject,
  toolset_name: z.null().optional(),
}).transform(({ id, name, input }): CallPart => ({ type: 'toolCall', id, name, args: input }));

// What Claude thought is of use to it alone; another model's may be carried in the same form.
const Thinking = z
  .looseObject({ type: z.enum(['thinking', 'redacted_thinking']), signature: z.unknown().optional() })
  .transform(({ signature }) => readThinking(signature));

/** Says only that another model went on from here. */
const Fallback = z.looseObject({ type: z.literal('fallback') }).transform(() => undefined);

const ToolReference = object({ type: z.literal('tool_reference'), tool_name: z.string().min(1) }).transform(
  ({ tool_name }) => ({ loads: tool_name, ...say(`The tool ${tool_name} is loaded: it can be called now.`) }),
);

const Result = object({
  type: z.literal('tool_result'),
  tool_use_id: z.string().min(1),
  content: maybe(partsOf(z.discriminatedUnion('type', [Text, Picture, Document, SearchResult, ToolReference]))),
  is_error: z.boolean().nullish(),
  toolset_name: z.null().optional(),
}).transform(({ tool_use_id, content = [], is_error }) => {
  const parts = content.flat();
  return {
    role: 'tool' as const,
    callId: tool_use_id,
    parts: parts.map((part): Shown => ('loads' in part ? say(part.text) : part)),
    isError: is_error ?? false,
    loads: parts.flatMap((part) => ('loads' in part ? [part.loads] : [])),
  };
});

/** A message of the client's, and what it says beside words. */
export type Turn = EffortTurn & {
  said: PivotMessage[];
  /** Tools that the model knows from here on, by their names. */
  loads: string[];
  changes: z.infer<typeof ToolAddition | typeof ToolRemoval>[];
  /** Shown until the user speaks again. */
  isPassing: boolean;
};
const plain = { isInput: false, loads: [], changes: [], isPassing: false };

export const Message = z.discriminatedUnion('role', [
  object({
    role: z.literal('system'),
    content: maybe(partsOf(z.discriminatedUnion('type', [Text, ToolAddition, ToolRemoval]))),
    clear_at: z.enum(['next_user_message', 'never']).nullish(),
    output_config: maybe(object({ effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullish() })),
  }).transform(({ role, content = [], clear_at, output_config }): Turn => {
    const parts = content.filter((part) => part.type === 'text');
    return {
      ...{ ...plain, role, effort: output_config?.effort ?? undefined, isPassing: clear_at === 'next_user_message' },
      said: parts.length > 0 ? [{ role, parts }] : [],
      changes: content.filter((part) => part.type !== 'text'),
    };
  }),
  object({
    role: z.literal('user'),
    content: partsOf(z.discriminatedUnion('type', [Text, Picture, Document, SearchResult, Result])),
  }).transform(({ role, content }): Turn => {
    const results = content.flat().filter((part) => 'role' in part);
    const parts = content.flat().filter((part): part is Shown => !('role' in part));
    const isInput = parts.length > 0 || results.length === 0;
    return {
      ...{ ...plain, role, isInput },
      said: [...results.map(({ loads, ...result }) => result), ...(isInput ? [{ role, parts }] : [])],
      loads: results.flatMap(({ loads }) => loads),
    };
  }),
  object({
    role: z.literal('assistant'),
    content: partsOf(z.discriminatedUnion('type', [Text, Call, Thinking, Fallback])),
  }).transform(({ role, content }): Turn => {
    const parts = content.filter((part) => part !== undefined);
    const loads = parts.flatMap((part) => (part.type === 'toolCall' ? [part.name] : []));
    return { ...plain, role, said: [{ role, parts }], loads };
  }),
]);

/** The messages that the model is to read. */
export function messagesOf(turns: readonly Turn[]): PivotMessage[] {
  const last = turns.findLastIndex(({ role }) => role === 'user');
  return turns.flatMap(({ said, isPassing }, index) => (isPassing && index < last ? [] : said));
}
