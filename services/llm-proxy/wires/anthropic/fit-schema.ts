import { rawNumberOf } from '#shared/exact-json.ts';
import { isObject } from '../is-object.ts';
import type { JsonObject } from '../pivot.ts';

/**
 * The rules of Anthropic's structured outputs, as its SDK 1.12 fits schemas to them (lib/transform-json-schema.js, read 2026-11-30):
 * every object says `additionalProperties: false`, and the keywords that the API refuses are said in the description instead.
 */
const formats: ReadonlySet<unknown> = new Set([
  ...['date-time', 'time', 'date', 'duration', 'email', 'hostname', 'uri', 'ipv4', 'ipv6', 'uuid'],
]);
/** Keywords whose meaning stays as it is. */
const plain: ReadonlySet<string> = new Set(['$ref', 'type', 'description', 'title', 'required']);
const depthMax = 100;

/** A JSON Schema as Anthropic's structured outputs take it. What it cannot enforce, the model reads in the description. */
export const fitSchema = (schema: JsonObject): JsonObject => fitNode(schema, 0) as JsonObject;

function fitNode(schema: unknown, depth: number): unknown {
  if (!isObject(schema) || depth > depthMax) return schema;
  const { $schema: _dialect, $id: _id, ...said } = schema;
  const inner = (value: unknown) => fitNode(value, depth + 1);
  const fitted: JsonObject = {};
  const rest: JsonObject = {};
  for (const [keyword, value] of Object.entries(said)) {
    if (keyword === '$defs' || keyword === 'definitions') fitted[keyword] = eachOf(value, inner);
    else if (plain.has(keyword) || isLiteral(keyword, value)) fitted[keyword] = value;
    else if (keyword === 'anyOf' || keyword === 'allOf') fitted[keyword] = listOf(value, inner);
    else if (keyword === 'oneOf') fitted.anyOf = listOf(value, inner);
    else if (keyword === 'properties') fitted.properties = eachOf(value, inner);
    else if (keyword === 'items') fitted.items = inner(value);
    else if (keyword === 'format' && formats.has(value)) fitted.format = value;
    else if (keyword === 'minItems' && isNoneOrOne(value)) fitted.minItems = value;
    else if (keyword !== 'additionalProperties') rest[keyword] = value;
  }
  // Beside a reference the API takes its definitions alone.
  if ('$ref' in fitted) return { ...('$defs' in fitted ? { $defs: fitted.$defs } : {}), $ref: fitted.$ref };
  // A literal says its type.
  if ('enum' in fitted || 'const' in fitted) delete fitted.type;
  const open = isObject(said.additionalProperties) ? { additionalProperties: said.additionalProperties } : {};
  if (isForObjects(said)) Object.assign(fitted, { properties: fitted.properties ?? {}, additionalProperties: false });
  return described(fitted, { ...rest, ...open });
}

/** As far as the API counts; `1.0` is one, too. */
const isNoneOrOne = (value: unknown): boolean => [0, 1].includes(Number(rawNumberOf(value) ?? value));

/** Literals that are objects or lists are not taken. */
function isLiteral(keyword: string, value: unknown): boolean {
  const isSimple = (each: unknown) => each === null || typeof each !== 'object' || rawNumberOf(each) !== undefined;
  if (keyword === 'const') return isSimple(value);
  return keyword === 'enum' && Array.isArray(value) && value.length > 0 && value.every(isSimple);
}

/** Whether a schema has an object whose fields nobody named: closed, it could hold none of them. */
export function isOpen(schema: unknown, depth = 0): boolean {
  if (depth > depthMax) return true;
  if (Array.isArray(schema)) return schema.some((each) => isOpen(each, depth + 1));
  if (!isObject(schema)) return false;
  const { properties, additionalProperties: more } = schema;
  if (isObject(more) || (isForObjects(schema) && more !== false && !isNamed(properties))) return true;
  return Object.entries(schema).some(([keyword, value]) =>
    keyword === 'properties' || keyword === '$defs' || keyword === 'definitions'
      ? isObject(value) && Object.values(value).some((each) => isOpen(each, depth + 1))
      : holdsSchemas.has(keyword) && isOpen(value, depth + 1),
  );
}

const holdsSchemas: ReadonlySet<string> = new Set(['items', 'prefixItems', 'anyOf', 'oneOf', 'allOf']);
const isNamed = (properties: unknown) => isObject(properties) && Object.keys(properties).length > 0;

/** `type` may be a list, and is often left out beside `properties`. */
const isForObjects = ({ type, properties }: JsonObject): boolean =>
  type === 'object' || (Array.isArray(type) && type.includes('object')) || (type === undefined && isObject(properties));

function described(schema: JsonObject, rest: JsonObject): JsonObject {
  const left = Object.entries(rest).map(([keyword, value]) => `${keyword}: ${JSON.stringify(value)}`);
  if (left.length === 0) return schema;
  const before = schema.description ? `${schema.description}\n\n` : '';
  return { ...schema, description: `${before}{${left.join(', ')}}` };
}

const eachOf = (value: unknown, inner: (value: unknown) => unknown): unknown =>
  isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, inner(each)])) : value;
const listOf = (value: unknown, inner: (value: unknown) => unknown): unknown =>
  Array.isArray(value) ? value.map(inner) : value;
