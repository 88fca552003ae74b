import type { JsonObject } from '../wires/pivot.ts';
import type { Kept } from './kept-responses.ts';

/** What a request refers to by ids: the responses that have the items, and the one that it goes on with. */
export function referencesIn({ input, previous_response_id: previous }: JsonObject) {
  const items = Array.isArray(input) ? input.flatMap((item) => placeOf(item)?.response ?? []) : [];
  return { items: new Set(items), previous: typeof previous === 'string' ? previous : undefined };
}

/** The request with kept items in place of references to them. One that nobody keeps stays as it is. */
export function resolveReferences(body: JsonObject, kept: ReadonlyMap<string, Kept>): JsonObject {
  const { input, previous_response_id: previous, ...rest } = body;
  const own = Array.isArray(input) ? input.map((item) => itemOf(item, kept) ?? item) : input;
  const before = typeof previous === 'string' ? conversationOf(previous, kept) : undefined;
  if (!before) return { ...body, ...(own === undefined ? {} : { input: own }) };
  const said = typeof own === 'string' ? [{ role: 'user', content: own }] : Array.isArray(own) ? own : [];
  return { ...rest, input: [...before, ...said] };
}

/** Where an item lies: its id has its response's id and its place in it, as the wire writes them. */
function placeOf(item: unknown): { response: string; at: number } | undefined {
  if (!isObject(item)) return undefined;
  const { type, id } = item;
  const isBare = Object.values(item).every((value) => value === id || value === null);
  if (typeof id !== 'string' || !(type === 'item_reference' || isBare)) return undefined;
  const [, bare, at] = /^(?:msg|fc|ctc)_(.{1,190})_(\d{1,4})$/.exec(id) ?? [];
  return bare === undefined ? undefined : { response: `resp_${bare}`, at: Number(at) };
}

function itemOf(item: unknown, kept: ReadonlyMap<string, Kept>): unknown {
  const place = placeOf(item);
  const found = place && kept.get(place.response)?.output[place.at];
  return isObject(found) && isObject(item) && found.id === item.id ? withoutId(found) : undefined;
}

/** All that was said up to the end of a response; undefined where a part of it is no longer kept. */
function conversationOf(id: string, kept: ReadonlyMap<string, Kept>): unknown[] | undefined {
  const said: unknown[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = id; next !== undefined; ) {
    const response: Kept | undefined = seen.has(next) ? undefined : kept.get(next);
    if (!response?.input) return undefined;
    seen.add(next);
    said.unshift(...response.input, ...response.output.map(withoutId));
    next = response.previous;
  }
  return said;
}

/** Whoever gets the item itself would look in vain for our id. */
const withoutId = (item: unknown): unknown => {
  if (!isObject(item)) return item;
  const { id: _, ...rest } = item;
  return rest;
};

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
