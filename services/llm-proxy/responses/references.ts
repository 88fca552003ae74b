import { isObject } from '../wires/is-object.ts';
import type { JsonObject } from '../wires/pivot.ts';
import type { Kept } from './kept-responses.ts';

/** What a request refers to by ids: items, and the response that it goes on with. */
export function referencesIn({ input, previous_response_id: previous }: JsonObject) {
  const items = Array.isArray(input) ? input.flatMap((item) => idReferredTo(item) ?? []) : [];
  return { items: new Set(items), previous: typeof previous === 'string' ? previous : undefined };
}

/** The request with kept items in place of references to them. One that nobody keeps stays as it is. */
export function resolveReferences(body: JsonObject, kept: ReadonlyMap<string, Kept>): JsonObject {
  const { input, previous_response_id: previous, ...rest } = body;
  const own = Array.isArray(input) ? resolveItems(input, kept) : input;
  const before = typeof previous === 'string' ? conversationOf(previous, kept) : undefined;
  if (!before) return { ...body, ...(own === undefined ? {} : { input: own }) };
  const said = typeof own === 'string' ? [{ role: 'user', content: own }] : Array.isArray(own) ? own : [];
  return { ...rest, input: [...before, ...said] };
}

/** The item that one stands for: it has nothing but an id, or is thinking that only its provider can read. */
function idReferredTo(item: unknown): string | undefined {
  if (!isObject(item)) return undefined;
  const { type, id } = item;
  const isBare = Object.values(item).every((value) => value === id || value === null);
  return typeof id === 'string' && (type === 'item_reference' || isBare || isUnreadable(item)) ? id : undefined;
}

function resolveItems(input: readonly unknown[], kept: ReadonlyMap<string, Kept>): unknown[] {
  const outputs = [...kept.values()].flatMap(({ output }) => output).filter(isObject);
  const byId = new Map(outputs.map((item) => [item.id, item]));
  const found = new Set<unknown>();
  const resolved = input.map((item) => {
    const id = idReferredTo(item);
    const known = id === undefined ? undefined : byId.get(id);
    if (known) found.add(known);
    return known ?? item;
  });
  const isKept = (item: unknown): item is JsonObject => found.has(item);
  const readable = resolved.filter((item) => !(isKept(item) && isUnreadable(item)));
  // With its id an item is refused without the thinking that it came with: "… was provided without its required 'reasoning' item" (OpenAI's 400).
  const isShort = readable.length < resolved.length;
  return readable.map((item) => (isShort || isKept(item) ? withoutId(item) : item));
}

/**
 * The rule "thinking without a store": it is taken back by its `encrypted_content` alone, which OpenAI gives by default (`ResponseReasoningItem`
 * of its SDK 7.57); without it, its own answer is 404, "Item with id … not found" (vercel/ai#7543; 2026-11-30).
 */
const isUnreadable = (item: JsonObject): boolean =>
  item.type === 'reasoning' && typeof item.encrypted_content !== 'string';

/** All that was said up to the end of a response; undefined where a part of it is no longer kept. */
function conversationOf(id: string, kept: ReadonlyMap<string, Kept>): unknown[] | undefined {
  const said: unknown[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = id; next !== undefined; ) {
    const response: Kept | undefined = seen.has(next) ? undefined : kept.get(next);
    if (!response?.input) return undefined;
    seen.add(next);
    const readable = response.output.filter((item) => !(isObject(item) && isUnreadable(item)));
    said.unshift(...response.input, ...readable.map(withoutId));
    next = response.previous;
  }
  return said;
}

/** What Codex, which has nothing stored, sends without an id (`ResponseItem` in its codex-rs/protocol, 2026-11-30). Of others the API's types ask for it. */
const idless: ReadonlySet<unknown> = new Set([
  ...['message', 'reasoning', 'function_call', 'custom_tool_call', 'web_search_call', 'local_shell_call'],
]);

/** Whoever gets the item itself needs no id to look for, and would take it for one of a turn that has to be whole. */
const withoutId = (item: unknown): unknown => {
  if (!isObject(item) || !idless.has(item.type)) return item;
  const { id: _, ...rest } = item;
  return rest;
};
