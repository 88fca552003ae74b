import { z } from 'zod';
import { Failure, messageOf } from './errors.ts';

const charsMax = 10_000;
const depthMax = 12;

/**
 * A model's JSON Schema for the answer to its question, as something that checks; null: a text. It is hostile input: a pattern could
 * keep a regular expression busy for years, so there is none, and what is long to check all the same is checked where that holds up nobody.
 * Throws `invalid` with what to change.
 */
export function readAnswerSchema(schema: Record<string, unknown> | null): z.ZodType {
  if (schema === null) return z.string().min(1, 'must be a text that is not empty');
  if (JSON.stringify(schema).length > charsMax)
    throw new Failure('invalid', `schema: is longer than ${charsMax} characters; ask for less at a time`);
  refuse(schema, 0);
  try {
    return z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
  } catch (error) {
    throw new Failure('invalid', `schema: is no JSON Schema that can be read: ${messageOf(error)}`);
  }
}

function refuse(value: unknown, depth: number): void {
  if (depth > depthMax) throw new Failure('invalid', `schema: is nested more than ${depthMax} deep`);
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    // One of that name may be a field, which is described by an object.
    const isPattern = key === 'pattern' && (Array.isArray(inner) || typeof inner !== 'object' || inner === null);
    if (isPattern || key === 'patternProperties' || key === '$ref')
      throw new Failure('invalid', `schema: ${key} is not taken here; say it in the description`);
    refuse(inner, depth + 1);
  }
}
