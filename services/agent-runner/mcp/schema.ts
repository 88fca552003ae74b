import { Failure } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { hides, tidy } from './text.ts';

export type Schema = Record<string, unknown>;

const depthMax = 32;
const charsMax = 64 * 1024;
const descriptionCharsMax = 2_000;
const said: ReadonlySet<string> = new Set(['title', 'description', '$comment']);
const references: ReadonlySet<string> = new Set(['$ref', '$dynamicRef', '$recursiveRef']);

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a value has more than `levels` objects and lists within each other. */
export function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((each) => isDeeperThan(levels - 1, each));
}

const refuse = (what: string) => new Failure('invalid', `its input schema ${what}`);

/** A server's schema as a model may see it. Throws `invalid` with why it may not. */
export function readSchema(schema: unknown): Schema {
  if (!isObject(schema)) throw refuse('is no object');
  if ((schema.type ?? 'object') !== 'object') throw refuse('is not of type object');
  const tidied = { ...tidyObject(schema, 0), type: 'object' };
  const text = JSON.stringify(tidied);
  if (text.length > charsMax) throw refuse(`is longer than ${charsMax} characters`);
  const clean: unknown = JSON.parse(scrub(text));
  if (!isObject(clean)) throw refuse('is no object');
  return clean;
}

function tidyObject(object: Record<string, unknown>, depth: number): Schema {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => {
      if (key === '__proto__' || hides(key)) throw refuse('names a field with hidden characters');
      if (typeof value !== 'string') return [key, tidyValue(value, depth + 1)];
      if (said.has(key)) return [key, tidy(value, descriptionCharsMax)];
      if (references.has(key) && !value.startsWith('#')) throw refuse('refers to another document');
      return [key, tidyValue(value, depth + 1)];
    }),
  );
}

function tidyValue(value: unknown, depth: number): unknown {
  if (depth > depthMax) throw refuse(`is nested more than ${depthMax} deep`);
  if (typeof value === 'string' && hides(value)) throw refuse('holds hidden characters');
  if (Array.isArray(value)) return value.map((each) => tidyValue(each, depth + 1));
  return isObject(value) ? tidyObject(value, depth) : value;
}
