import { transformJSONSchema } from '@anthropic-ai/sdk/lib/transform-json-schema';
import test from 'ava';
import fc from 'fast-check';
import { parseExact } from '#shared/exact-json.ts';
import { fitSchema, isOpen } from '../../services/llm-proxy/wires/anthropic/fit-schema.ts';

const text = fc.string({ maxLength: 8 });
const common = { title: text, description: text };
const { node } = fc.letrec<{ node: Record<string, unknown> }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    fc.record(
      {
        type: fc.constant('string'),
        format: fc.constantFrom('date', 'uri'),
        minLength: fc.nat(9),
        pattern: text,
        ...common,
      },
      { requiredKeys: ['type'] },
    ),
    fc.record(
      {
        type: fc.constantFrom('number', 'integer'),
        minimum: fc.integer(),
        multipleOf: fc.constant(2),
        default: fc.nat(),
        ...common,
      },
      { requiredKeys: ['type'] },
    ),
    fc.constant({ type: 'string', format: 'regex' }),
    fc.constant({ type: 'array', minItems: 2 }),
    fc.record({ type: fc.constant('string'), enum: fc.array(text, { minLength: 1, maxLength: 3 }) }),
    fc.record({ const: fc.oneof(text, fc.integer(), fc.constant(null)) }),
    fc.record({ $ref: fc.constant('#/$defs/a'), description: text }),
    fc.record(
      {
        type: fc.constant('array'),
        items: tie('node'),
        minItems: fc.nat(1),
        maxItems: fc.nat(9),
        uniqueItems: fc.boolean(),
      },
      { requiredKeys: ['type'] },
    ),
    fc.record(
      {
        type: fc.constant('object'),
        properties: fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), tie('node'), { maxKeys: 3 }),
        required: fc.array(text, { maxLength: 2 }),
        additionalProperties: fc.boolean(),
        ...common,
      },
      { requiredKeys: ['type', 'properties'] },
    ),
    fc.record({ anyOf: fc.array(tie('node'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ oneOf: fc.array(tie('node'), { minLength: 1, maxLength: 3 }), description: text }),
    fc.record({ allOf: fc.array(tie('node'), { minLength: 1, maxLength: 2 }) }),
  ),
}));

test("a schema is fitted to Anthropic's structured outputs as its own SDK does it", (t) => {
  fc.assert(
    fc.property(
      node,
      fc.option(fc.dictionary(fc.constantFrom('a', 'b'), node), { nil: undefined }),
      (schema, $defs) => {
        const whole = {
          $schema: 'https://json-schema.org/draft/2020-12/schema',
          ...schema,
          ...($defs ? { $defs } : {}),
        };
        t.deepEqual(fitSchema(whole), transformJSONSchema(whole));
      },
    ),
  );
});

test('schemas that the SDK refuses or empties are fitted, too', (t) => {
  const deep = (depth: number): Record<string, unknown> =>
    depth === 0 ? {} : { type: 'array', items: deep(depth - 1) };
  t.notThrows(() => fitSchema(deep(500)));
  t.deepEqual(fitSchema({ properties: { a: {} } }), { properties: { a: {} }, additionalProperties: false });
  t.like(fitSchema({ type: ['object', 'null'], properties: {} }), { additionalProperties: false });
  t.deepEqual(fitSchema({ type: 'object', additionalProperties: { type: 'number' } }), {
    ...{ type: 'object', properties: {}, additionalProperties: false },
    description: '{additionalProperties: {"type":"number"}}',
  });
});

test('an object is open where nobody has named its fields', (t) => {
  const open = { type: 'object', additionalProperties: { type: 'number' } };
  t.true(isOpen(open));
  t.true(isOpen({ type: 'object' }));
  t.true(isOpen({ type: 'object', properties: { a: { type: 'array', items: { anyOf: [{ type: 'null' }, open] } } } }));
  t.true(isOpen({ $defs: { a: open }, $ref: '#/$defs/a' }));
  t.false(isOpen({ type: 'object', properties: { a: { type: 'string' } } }));
  t.false(isOpen({ type: 'object', properties: {}, additionalProperties: false }));
  t.false(isOpen({ type: 'string' }));
});

test('numbers of a schema are held to as any others, however they are written', (t) => {
  const said = '{"type":"array","minItems":1.0,"items":{"enum":[1.0,12345678901234567890,2],"const":1e2}}';
  t.is(JSON.stringify(fitSchema(parseExact(said) as Record<string, unknown>)), said);
});
