import test from 'ava';
import fc from 'fast-check';
import { mapNumbers, parseExact, rawNumberOf } from '#shared/exact-json.ts';
import { rewriteFields } from '../../services/llm-proxy/wires/rewrite.ts';

const digits = (max: number) => fc.stringMatching(new RegExp(`^[0-9]{1,${max}}$`));
/** A number as JSON may have it. */
const number = fc
  .tuple(
    fc.constantFrom('', '-'),
    digits(25),
    fc.option(digits(25)),
    fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-'), digits(3))),
  )
  .map(
    ([sign, whole, part, power]) =>
      `${sign}${whole.replace(/^0+(?=\d)/, '')}${part === null ? '' : `.${part}`}${power?.join('') ?? ''}`,
  );
const text = fc
  .oneof(fc.string(), fc.constantFrom('1.0', ', 1e5 "', '\\', '{"a":1.0', '}', '9007199254740993'))
  .map((each) => JSON.stringify(each));
// Names that are whole numbers are put first by JavaScript, and `__proto__` twice is none.
const names = fc.uniqueArray(
  fc.string().filter((each) => !/^\d+$/.test(each)),
  { maxLength: 4 },
);
const json = fc.letrec<{ any: string; list: string; object: string }>((tie) => ({
  any: fc.oneof({ maxDepth: 4 }, number, text, fc.constantFrom('null', 'true', 'false'), tie('list'), tie('object')),
  list: fc.array(tie('any'), { maxLength: 4 }).map((items) => `[${items.join(',')}]`),
  object: names.chain((keys) =>
    fc
      .tuple(...keys.map(() => tie('any')))
      .map((values) => `{${keys.map((key, at) => `${JSON.stringify(key)}:${values[at]}`).join(',')}}`),
  ),
}));

test('what is parsed is written as it was, with all its numbers', (t) => {
  fc.assert(
    fc.property(fc.oneof(json.list, json.object), (each) => {
      t.is(JSON.stringify(parseExact(each)), each);
      t.deepEqual<unknown, unknown>(mapNumbers(parseExact(each), Number), JSON.parse(each));
    }),
    { numRuns: 500 },
  );
});

test('numbers are kept in the fields that are named, however deep, and nowhere else', (t) => {
  const parsed = parseExact('{"a":1.0,"input":{"b":[2.0]},"c":[{"input":3.0}]}', (field) => field === 'input');
  t.is(JSON.stringify(parsed), '{"a":1,"input":{"b":[2.0]},"c":[{"input":3.0}]}');
});

test('of a field that is there twice the last counts', (t) => {
  t.is(JSON.stringify(parseExact('{"a":1.0,"a":{"b":1.0},"c":2.0,"c":5}')), '{"a":{"b":1.0},"c":5}');
});

test('there is a bound to the numbers that are kept', (t) => {
  const list = parseExact(`[${'1.0,'.repeat(150_000)}1.0]`);
  t.true(Array.isArray(list));
  t.is(rawNumberOf(Array.isArray(list) ? list[0] : undefined), '1.0');
  t.is(Array.isArray(list) ? list.at(-1) : undefined, 1);
});

test('a body whose fields are rewritten says the same, and in what stays has the same bytes', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(
        fc.string().filter((each) => each !== '__proto__'),
        { minLength: 1, maxLength: 5 },
      ),
      fc.array(json.any, { minLength: 5, maxLength: 5 }),
      (keys, values) => {
        const raw = `{ ${keys.map((key, at) => `${JSON.stringify(key)} : ${values[at]}`).join(' ,\n')} }`;
        const read: Record<string, unknown> = JSON.parse(raw);
        const [changed = ''] = keys;
        const next = { ...read, [changed]: 'new', model: 'm' };
        const written = rewriteFields(Buffer.from(raw), read, next).toString();
        t.deepEqual<unknown, unknown>(JSON.parse(written), next);
        for (const [at, key] of keys.entries())
          if (key !== changed && key !== 'model')
            t.true(written.includes(`${JSON.stringify(key)}: ${values[at]}`), written);
      },
    ),
  );
});
