import { fileTokens, imageTokens } from '../../tokens.ts';
import type { JsonObject } from '../../wires/pivot.ts';

const depthMax = 6;

/** The tokens that a request of any wire may bring beside its own bytes: what it only names is fetched by the provider. */
export function unseenTokens(body: JsonObject): number {
  return namedIn(body.messages, 0) + namedIn(body.input, 0) + namedIn(body.system, 0);
}

/** What parts of messages name, and parts of tools' results in them. */
function namedIn(value: unknown, depth: number): number {
  if (depth > depthMax || typeof value !== 'object' || value === null) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + namedIn(each, depth + 1), 0);
  const part = value as JsonObject;
  const own = isNaming(part) ? (isPicture(part) ? imageTokens : fileTokens) : 0;
  return own + namedIn(part.content, depth + 1) + namedIn(part.output, depth + 1);
}

/** Pictures and files are named in the part itself, or in a field of it; what the provider keeps is refused before. */
function isNaming(part: JsonObject): boolean {
  if (isAway(part.file_url) || isAway(part.image_url)) return true;
  return [part, part.image_url, part.source].some(
    (each) => typeof each === 'object' && each !== null && 'url' in each && isAway(each.url),
  );
}

const isPicture = ({ type }: JsonObject) => typeof type === 'string' && type.includes('image');

/** A URL that does not hold what it stands for. */
const isAway = (url: unknown): boolean => typeof url === 'string' && !url.startsWith('data:');
