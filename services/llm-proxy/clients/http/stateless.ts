import { Failure } from '#shared/errors.ts';
import type { JsonObject } from '../../wires/pivot.ts';
import { fold } from './known-names.ts';

const depthMax = 200;

/** What a provider keeps, by fields that have no `_id` at their end. */
const keptNames: ReadonlySet<string> = new Set([
  ...['conversation', 'prompt', 'container', 'skills', 'cached_content', 'cachedcontent'],
]);
/** Names of what the request itself holds, of the client's own things, or of whole services. */
const ownIds: ReadonlySet<string> = new Set([
  ...['call_id', 'tool_call_id', 'tool_use_id', 'approval_request_id', 'connector_id'],
  ...['user_id', 'user_profile_id', 'request_id', 'session_id', 'trace_id'],
]);
/** What is the client's own through and through, or is told of an answer that is over: nobody looks there for what is kept. */
const opaque: ReadonlySet<string> = new Set([
  ...['parameters', 'input_schema', 'schema', 'json_schema', 'metadata', 'client_metadata', 'arguments'],
  ...['annotations', 'citations'],
]);

/**
 * The rule "stateless": all clients use one account of the provider's, so whatever that keeps there (responses, conversations, prompts,
 * files, containers, vector stores) may be another's, and a request that names some is refused. Throws `invalid` with the field.
 */
export function checkStateless(body: JsonObject): void {
  // Anthropic's threads, which are another's to go on with: already the first request of one has it kept.
  const field = body.thread instanceof Object ? 'thread' : referenceIn(body, 'body', 0);
  if (field === undefined) return;
  const text = `${field}: refers to what the provider keeps, which may be another key's: port 4000 is stateless. Send the content itself${unstored(field)}`;
  throw new Failure('invalid', text, { problems: [{ field, message: text }] });
}

/** Libraries refer to earlier answers by themselves, until they are told not to. */
const unstored = (field: string): string =>
  /^(input|previous_response_id)\b/.test(field) ? ', as libraries do with store: false' : '';

/** The path of the first reference. */
function referenceIn(value: object, type: unknown, depth: number): string | undefined {
  if (depth > depthMax) return undefined;
  for (const [name, inner] of Object.entries(value)) {
    if (inner === null || inner === undefined || inner === false || opaque.has(name)) continue;
    if (!Array.isArray(value)) {
      if (isReference(fold(name), inner, depth)) return name;
      // The arguments that a model wrote for a call.
      if (name === 'input' && typeof type === 'string' && type.endsWith('tool_use')) continue;
    }
    if (typeof inner !== 'object') continue;
    if (isKeptItem(inner)) return name;
    const found = referenceIn(inner, 'type' in inner ? inner.type : undefined, depth + 1);
    if (found !== undefined) return `${name}.${found}`;
  }
  return undefined;
}

function isReference(name: string, value: unknown, depth: number): boolean {
  if (name === 'background') return depth === 0;
  if (keptNames.has(name)) return isKept(name, value, depth);
  if (/(^|_)ur[il]$/.test(name)) return typeof value === 'string' && isElsewhere(value);
  if (Array.isArray(value) && value.length === 0) return false;
  return /_ids?$/.test(name) && !ownIds.has(name) && value !== '';
}

/** A prompt of words is one, and a container that is made anew is nobody's. */
function isKept(name: string, value: unknown, depth: number): boolean {
  if (name === 'conversation') return depth === 0;
  if (name === 'prompt') return depth === 0 && typeof value === 'object';
  if (name === 'container') return typeof value === 'string' || (value instanceof Object && 'id' in value);
  if (name === 'skills') return Array.isArray(value) && value.length > 0;
  return typeof value === 'string' && value !== '';
}

/** Neither on the web nor the thing itself: in a store that the provider reads with its own rights. */
const isElsewhere = (url: string): boolean => /^[a-z][a-z0-9+.-]*:/i.test(url) && !/^(https?|data):/i.test(url);

/** An item of which only the provider knows what it is. */
function isKeptItem(item: object): boolean {
  const { type, id, encrypted_content: thought, result } = item as JsonObject;
  if (type === 'item_reference') return true;
  if (typeof id !== 'string') return false;
  if (type === 'reasoning') return typeof thought !== 'string';
  if (type === 'image_generation_call') return typeof result !== 'string';
  return Object.values(item).every((value) => value === id || value === null);
}
