import test from 'ava';
import fc from 'fast-check';
import { scanJson } from '../../services/llm-proxy/clients/http/scan-json.ts';

const enough = 1_000_000;
const scan = (text: string, max = enough) => scanJson(Buffer.from(text), max);

test('a body without a field twice is unambiguous, whatever its texts hold', (t) => {
  fc.assert(
    fc.property(fc.object({ maxDepth: 4 }), (value) => {
      t.false(scan(JSON.stringify(value)).isAmbiguous);
      t.false(scan(JSON.stringify({ text: JSON.stringify(value), value }, undefined, ' ')).isAmbiguous);
    }),
  );
});

test('texts end where they end, however long they are and whatever is escaped in them', (t) => {
  const text = fc.string({ unit: fc.constantFrom('"', '\\', 'a', '{', ',', ':'), minLength: 100, maxLength: 600 });
  fc.assert(
    fc.property(text, text, (one, other) => {
      t.false(scan(JSON.stringify({ a: one, b: [other, { a: other }], c: one })).isAmbiguous);
      t.true(scan(`{"a":${JSON.stringify(one)},"b":${JSON.stringify(other)},"a":1}`).isAmbiguous);
    }),
  );
});

for (const [what, text] of [
  ['plain', '{"model":"a","x":1,"model":"b"}'],
  ['with an escape', '{"max_tokens":1,"max\\u005ftokens":9}'],
  ['with white space', '{ "n" : 1 , "n"\n:\t2 }'],
  ['deep inside', '{"messages":[{"content":[{"file":{"file_id":"f","file_id":null}}]}]}'],
  ['after an inner object', '{"a":{"b":1},"a":2}'],
  ['behind a text of quotes', '{"a":"\\\\\\"","a":2}'],
] as const)
  test(`a field that stands twice is seen: ${what}`, (t) => {
    t.true(scan(text).isAmbiguous);
  });

test('the same field in two objects, or as a value, is not twice', (t) => {
  t.false(scan('{"a":[{"b":1},{"b":2}],"c":"a","d":{"a":"b","b":"a"}}').isAmbiguous);
});

test('what is parsed may be many times its text, and is bounded before', (t) => {
  t.throws(() => scan(`[${'{},'.repeat(100_000)}{}]`), { code: 'too-large' });
  t.throws(() => scan(`[${'[],'.repeat(100_000)}[]]`), { code: 'too-large' });
  t.throws(() => scan(`{${Array.from({ length: 10_000 }, (_, at) => `"${at}":1`).join(',')}}`), { code: 'too-large' });
  t.notThrows(() => scan(`[${'1234,'.repeat(50_000)}1]`));
  t.notThrows(() => scan(JSON.stringify({ text: '{},[]"'.repeat(1_000_000) })));
});

test('a body may be 200 levels deep and no deeper', (t) => {
  t.notThrows(() => scan('['.repeat(200)));
  t.throws(() => scan('['.repeat(201)), { code: 'invalid', message: /200 levels/ });
  t.throws(() => scan('{"a":'.repeat(20_000)), { code: 'invalid' });
});

test('what is no JSON is left for the parser to say', (t) => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      t.notThrows(() => scanJson(Buffer.from(bytes), Number.POSITIVE_INFINITY));
    }),
  );
  t.notThrows(() => scan('{"a": "'));
  t.notThrows(() => scan(']]}}"\\'));
});
