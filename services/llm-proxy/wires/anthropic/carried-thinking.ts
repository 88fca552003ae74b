import type { JsonObject, PivotRequest, Reply, ThinkingPart } from '../pivot.ts';
import { parseObject } from '../read.ts';

/**
 * Thinking of a model that speaks another wire, as a thinking block of this one. Servers such as DeepSeek's and Kimi's want it back with
 * the calls that it led to, OpenAI's responses take what they have encrypted, and a client of Anthropic's gives back what a block holds,
 * unread: so its signature is where the thinking is.
 */
const prefix = 'toka-thinking-1.';
/** The rest of what is longer is not carried: the servers want something back, and check no text. */
const textCharsMax = 200_000;
const signatureCharsMax = 2_000_000;

export const clipThought = (text: string): string => text.slice(0, textCharsMax);

/** The signature of a block that carries this thinking. `model`: the only one that gets it back. */
export function signThinking({ of, model, text, id, signature }: ThinkingPart): string {
  const carried = JSON.stringify({ of, model, text: clipThought(text), id, signature });
  return prefix + Buffer.from(carried).toString('base64url');
}

/** The thinking that a block of the history carries; undefined: it is signed by another, for whom alone it is. */
export function readThinking(signature: unknown): ThinkingPart | undefined {
  if (!isCarried(signature) || signature.length > signatureCharsMax) return undefined;
  const carried = parseObject(Buffer.from(signature.slice(prefix.length), 'base64url').toString()) ?? {};
  const { of, text } = carried;
  if (of !== 'openai-chat' && of !== 'openai-responses') return undefined;
  if (typeof text !== 'string' || text.length > textCharsMax) return undefined;
  const [model, id, sealed] = [carried.model, carried.id, carried.signature].map((each) =>
    typeof each === 'string' ? each : undefined,
  );
  return { type: 'thinking', of, text, model, id, signature: sealed };
}

const isCarried = (signature: unknown): signature is string =>
  typeof signature === 'string' && signature.startsWith(prefix);

/** How a client gets to see thinking: "none" where it neither asked for any nor must give it back. */
export function shownTo({ thinking, tools }: PivotRequest): 'shown' | 'hidden' | 'none' {
  return thinking ?? (tools.length > 0 ? 'hidden' : 'none');
}

/** The block of a whole answer. */
export function writeThinking(part: ThinkingPart, { request, model }: Pick<Reply, 'request' | 'model'>): JsonObject[] {
  const shown = shownTo(request);
  if (shown === 'none' || part.of === 'anthropic') return [];
  const signature = signThinking({ ...part, model });
  return [{ type: 'thinking', thinking: shown === 'shown' ? part.text : '', signature }];
}

/** Whether the bytes of a request may hold a block that carries thinking. */
export const mayCarryThinking = (raw: Buffer): boolean => raw.includes(prefix);

/** A request of this wire without such blocks: Anthropic itself refuses what it has not signed. */
export function withoutCarried(body: JsonObject): JsonObject {
  if (!Array.isArray(body.messages)) return body;
  return { ...body, messages: body.messages.flatMap(withoutBlocks) };
}

function withoutBlocks(message: unknown): unknown[] {
  const { content } = message instanceof Object ? (message as JsonObject) : {};
  if (!Array.isArray(content)) return [message];
  const rest = content.filter(
    (block: unknown) => !(block instanceof Object && isCarried((block as JsonObject).signature)),
  );
  if (rest.length === content.length) return [message];
  // The API takes no empty message.
  return rest.length > 0 ? [{ ...(message as JsonObject), content: rest }] : [];
}
