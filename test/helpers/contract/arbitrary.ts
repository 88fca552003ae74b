import fc from 'fast-check';

export type Schema = { [keyword: string]: unknown };

const depthMax = 6;
const anything = fc.oneof(
  { arbitrary: fc.jsonValue({ maxDepth: 2 }), weight: 4 },
  fc.constantFrom<unknown>(
    '',
    ' ',
    '\u0000',
    '\u202e',
    '../..',
    '__proto__',
    -1,
    0,
    1e21,
    Number.MAX_SAFE_INTEGER,
    null,
    [],
    {},
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
);

/** Values that a JSON Schema of the API's description allows, as far as it says: what only code checks may be wrong in them. */
export function arbitraryOf(schema: Schema, root: Schema, depth = 0): fc.Arbitrary<unknown> {
  const of = (each: unknown) => arbitraryOf(each as Schema, root, depth + 1);
  if (depth > depthMax) return fc.constant(null);
  if (typeof schema.$ref === 'string') return of(resolve(schema.$ref, root));
  if ('const' in schema) return fc.constant(schema.const);
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum);
  for (const choice of [schema.anyOf, schema.oneOf]) if (Array.isArray(choice)) return fc.oneof(...choice.map(of));
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  return types.length > 1 ? fc.oneof(...types.map((type) => of({ ...schema, type }))) : ofType(schema, of);
}

/** What a reference within the document leads to. */
export const resolve = (ref: string, root: Schema): Schema =>
  ref
    .replace(/^#\//, '')
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((at, part) => (at as Schema)[part], root) as Schema;

function ofType(schema: Schema, of: (schema: unknown) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const { minimum, exclusiveMinimum, maximum, minItems = 0, maxItems = 4 } = schema as Record<string, number>;
  switch (schema.type) {
    case 'string':
      return stringOf(schema);
    case 'integer':
      return fc.integer({ min: Math.max(minimum ?? -1_000, -(2 ** 31)), max: Math.min(maximum ?? 1_000, 2 ** 31 - 1) });
    case 'number':
      return fc.double({ min: minimum ?? exclusiveMinimum ?? -1_000, max: maximum ?? 1_000, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(of(schema.items ?? {}), { minLength: minItems, maxLength: Math.min(maxItems, minItems + 3) });
    case 'object':
      return objectOf(schema, of);
    default:
      return anything;
  }
}

function objectOf(
  { properties = {}, required = [], additionalProperties }: Schema,
  of: (schema: unknown) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  const own = Object.entries(properties as Schema).map(([name, each]) => [name, of(each)] as const);
  const record = fc.record(Object.fromEntries(own), { requiredKeys: required as never[], noNullPrototype: true });
  if (typeof additionalProperties !== 'object' || own.length > 0) return record;
  return fc.dictionary(fc.string({ maxLength: 10 }), of(additionalProperties), { maxKeys: 3, noNullPrototype: true });
}

const formats: Record<string, fc.Arbitrary<string>> = {
  'date-time': fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  date: fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
    .map((date) => date.toISOString().slice(0, 10)),
};

function stringOf({ format, pattern, minLength, maxLength, allOf }: Schema): fc.Arbitrary<string> {
  const known = typeof format === 'string' ? formats[format] : undefined;
  if (known) return known;
  const patterns = [pattern, ...((allOf as Schema[] | undefined) ?? []).map((each) => each.pattern)];
  const matched = patterns.find((each) => typeof each === 'string');
  // What looks ahead cannot be generated from.
  if (typeof matched === 'string' && !matched.includes('(?')) return fc.stringMatching(new RegExp(matched));
  const [min, max] = [Number(minLength ?? 0), Math.min(Number(maxLength ?? 20), 40)];
  return fc.oneof(
    { arbitrary: fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/), weight: 3 },
    fc.string({ unit: 'binary', minLength: min, maxLength: Math.max(min, max) }),
  );
}

/** Such values, with something in them put out of order: replaced, left out, or added. */
export function broken(values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const change = fc.record({
    at: fc.nat(),
    how: fc.constantFrom('replace', 'remove', 'add'),
    value: anything,
    name: fc.string(),
  });
  return fc.tuple(values, fc.array(change, { minLength: 1, maxLength: 3 })).map(([value, changes]) => {
    let changed: unknown = structuredClone(value);
    for (const { at, how, value: other, name } of changes) {
      const places = placesIn(changed);
      const place = places[at % Math.max(places.length, 1)];
      if (!place) changed = other;
      else if (how === 'add') Object.assign(place.parent, { [name]: other });
      else if (how === 'remove') Reflect.deleteProperty(place.parent, place.key);
      else Object.assign(place.parent, { [place.key]: other });
    }
    return changed;
  });
}

const placesIn = (value: unknown): { parent: object; key: string }[] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([key, each]) => [{ parent: value, key }, ...placesIn(each)])
    : [];
