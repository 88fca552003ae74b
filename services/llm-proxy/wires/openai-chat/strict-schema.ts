import { isObject } from '../is-object.ts';
import type { JsonObject } from '../pivot.ts';

/**
 * What OpenAI's strict mode takes: "Structured model outputs" of its guides, and what its own SDK refuses to send (openai 7.57,
 * lib/transform.js, 2026-11-30). Every object names all its properties as required and allows no other; of JSON Schema only these words.
 */
const words: ReadonlySet<string> = new Set([
  ...['$schema', '$id', '$ref', '$defs', 'definitions', 'title', 'description', 'type', 'enum', 'const', 'anyOf'],
  ...['properties', 'required', 'additionalProperties', 'items', 'minItems', 'maxItems'],
  ...['pattern', 'format', 'minLength', 'maxLength'],
  ...['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
]);
const formats: ReadonlySet<unknown> = new Set([
  ...['date-time', 'time', 'date', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uuid'],
]);
const levelsMax = 10;

/** Whether a schema can be held to the letter; any other is refused there, and is a wish only where it is sent. */
export function isStrictSchema(schema: JsonObject): boolean {
  return schema.type === 'object' && !('anyOf' in schema) && isStrict(schema, 0);
}

function isStrict(schema: unknown, level: number): boolean {
  if (!isObject(schema) || level > levelsMax) return false;
  const { properties, items, anyOf, format, $ref } = schema;
  if (!Object.keys(schema).every((word) => words.has(word))) return false;
  if (!['type', 'anyOf', '$ref', 'enum', 'const'].some((word) => word in schema)) return false;
  if ($ref !== undefined && !(typeof $ref === 'string' && $ref.startsWith('#'))) return false;
  if (format !== undefined && !formats.has(format)) return false;
  if (isOfObjects(schema) && !isClosed(schema)) return false;
  const inner = [properties, schema.$defs, schema.definitions].flatMap((each) =>
    isObject(each) ? Object.values(each) : [],
  );
  const branches = Array.isArray(anyOf) ? anyOf : [];
  return [...inner, ...branches, ...(items === undefined ? [] : [items])].every((each) => isStrict(each, level + 1));
}

const isOfObjects = ({ type, properties }: JsonObject) =>
  properties !== undefined || (Array.isArray(type) ? type.includes('object') : type === 'object');

/** All of its properties are required, and there are no others. */
function isClosed({ properties = {}, required, additionalProperties }: JsonObject): boolean {
  if (additionalProperties !== false || !isObject(properties)) return false;
  const named: ReadonlySet<unknown> = new Set(Array.isArray(required) ? required : []);
  return Object.keys(properties).every((name) => named.has(name));
}
