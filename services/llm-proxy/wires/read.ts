import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Problem } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import { parseExact, rawNumberOf } from '#shared/exact-json.ts';
import { isObject } from './is-object.ts';
import { leftOut } from './left-out.ts';
import type { ImagePart, JsonObject, WireName } from './pivot.ts';
import { imageTypes } from './pivot.ts';

const problemsMax = 20;

/** An `invalid` failure that names each field a translation cannot carry. */
export function untranslatable(problems: readonly Problem[]): Failure {
  const named = problems.slice(0, problemsMax);
  const said = named.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return new Failure('invalid', `this request cannot be translated for the model: ${said}`, { problems: named });
}

/** Reads a client's body by its wire's schema, without what the table leaves out. Throws `invalid` with every problem. */
export function readBody<T>(wire: WireName, schema: z.ZodType<T>, body: JsonObject): T {
  const { request, neutral } = leftOut[wire];
  const rest: [string, unknown][] = [];
  const problems: Problem[] = [];
  for (const [field, value] of Object.entries(body)) {
    if (value === null || value === undefined || Object.hasOwn(request, field)) continue;
    if (!Object.hasOwn(neutral, field)) rest.push([field, value]);
    else if (!neutral[field]?.some((each) => isDeepStrictEqual(each, value))) {
      problems.push({ field, message: 'has no counterpart for this model; leave it out' });
    }
  }
  const parsed = schema.safeParse(Object.fromEntries(rest));
  if (parsed.success && problems.length === 0) return parsed.data;
  throw untranslatable([...problems, ...(parsed.error?.issues ?? []).flatMap(problemsOf)]);
}

function problemsOf(issue: z.core.$ZodIssue): Problem[] {
  const path = issue.path.map(String);
  const field = path.join('.') || 'body';
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: [...path, key].join('.'),
      message: 'has no counterpart for this model; leave it out',
    }));
  }
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) {
    return [
      { field: path.slice(0, -1).join('.') || 'body', message: 'is of a kind that has no counterpart for this model' },
    ];
  }
  return [{ field, message: issue.message }];
}

/** A strict object of a wire, in which the hints of the table may stand. */
export function inner<S extends z.ZodRawShape>(wire: WireName, shape: S) {
  const hints: object = Object.fromEntries(
    Object.keys(leftOut[wire].inner).map((name) => [name, z.unknown().optional()]),
  );
  // Last: the table never hides a field that is read.
  return z.strictObject({ ...hints, ...shape });
}

/** A list of parts; a text alone is one part of the given type. */
export const partsOf = <T extends z.ZodType>(part: T, textType = 'text') =>
  z.preprocess(
    (value) => (typeof value === 'string' ? (value === '' ? [] : [{ type: textType, text: value }]) : value),
    z.array(part),
  );

/** A field that may be left out or null. */
export const maybe = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);

/** A number that is kept as it was written is an object in JavaScript alone. */
export const ObjectSchema = z.preprocess(
  (value) => (rawNumberOf(value) === undefined ? value : Number(rawNumberOf(value))),
  z.record(z.string(), z.unknown()),
);
/** Clients write image/jpg and capitals, too. */
export const MediaType = z.preprocess((value) => {
  const lower = typeof value === 'string' ? value.toLowerCase() : value;
  return lower === 'image/jpg' ? 'image/jpeg' : lower;
}, z.enum(imageTypes));
export const CacheControl = z.object({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).optional() });
export const HttpUrl = z.string().regex(/^https?:\/\//, 'must be an http or https URL');

const dataUrl = /^data:([a-z/]{1,40})(?:;[a-z0-9=-]{1,40})?;base64,/i;

/** An image by its URL, as OpenAI's wires have it: on the web, or itself as a `data:` URL. */
export const ImageUrl = z.string().transform((url, context): ImagePart['source'] => {
  if (/^https?:\/\//.test(url)) return { kind: 'url', url };
  const [head = '', type] = dataUrl.exec(url) ?? [];
  const mediaType = MediaType.safeParse(type).data;
  const data = url.slice(head.length);
  if (mediaType && data !== '' && !/[^A-Za-z0-9+/=]/.test(data)) return { kind: 'base64', mediaType, data };
  context.addIssue({
    code: 'custom',
    message: `must be an http(s) URL, or data:<type>;base64,… with one of ${imageTypes.join(', ')}`,
  });
  return z.NEVER;
});

/** The URL that says the same as an image's source. */
export const urlOf = (source: ImagePart['source']): string =>
  source.kind === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`;

// What stands in these is a tool's or its author's, and not the wire's: arguments, and schemas of them.
const free: ReadonlySet<string> = new Set([
  ...['input', 'arguments', 'args'],
  ...['input_schema', 'parameters', 'schema', 'input_examples'],
]);

/** A JSON object out of a text, as a wire has it; undefined where it is none. What tools are given in it keeps its numbers as they are. */
export const parseObject = (json: string): JsonObject | undefined => parse(json, (field) => free.has(field));

/** The arguments of a call, with all numbers as they are. A tool without arguments may be called with none at all. */
export const parseArgs = (json: string): JsonObject | undefined => parse(json);

/** The arguments of a call as JavaScript has them. */
export const parsePlain = (json: string): JsonObject | undefined => parse(json, () => false);

function parse(json: string, isKept?: (field: string) => boolean): JsonObject | undefined {
  try {
    const value = json.trim() === '' ? {} : parseExact(json, isKept);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Arguments as the text of a JSON object. */
export const ArgsText = z.string().transform((text, context) => {
  if (parseArgs(text)) return text.trim() === '' ? '{}' : text;
  context.addIssue({ code: 'custom', message: 'must be the JSON of an object' });
  return z.NEVER;
});

/** Arguments as an object, made a text. */
export const ArgsObject = ObjectSchema.transform((value, context) => {
  try {
    return JSON.stringify(value);
  } catch {
    context.addIssue({ code: 'custom', message: 'is nested too deeply' });
    return z.NEVER;
  }
});

/** Follows the text of a JSON object that comes in pieces. */
export function followObject() {
  let depth = 0;
  let inText = false;
  let escaped = false;
  let begun = false;
  return {
    push(piece: string): void {
      for (let at = 0; at < piece.length; at++) {
        const sign = piece[at];
        if (inText) {
          if (escaped) escaped = false;
          else if (sign === '\\') escaped = true;
          else if (sign === '"') inText = false;
        } else if (sign === '"') inText = true;
        else if (sign === '{' || sign === '[') {
          depth += 1;
          begun = true;
        } else if (sign === '}' || sign === ']') depth -= 1;
      }
    },
    /** It has come to its end. */
    isWhole: () => begun && depth <= 0 && !inText,
  };
}
