import test from 'ava';
import fc from 'fast-check';
import { Failure } from '#shared/errors.ts';
import { cut } from '#test/helpers/wire-arbitraries.ts';
import { createSseParser, writeSse } from '../../services/llm-proxy/wires/sse.ts';

test('events come out whole, however their bytes were cut', (t) => {
  const event = fc.record({
    event: fc.option(fc.stringMatching(/^[a-z_.]{1,20}$/), { nil: undefined }),
    data: fc.json(),
    comment: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(event), fc.constantFrom('\n', '\r\n', '\r'), fc.array(fc.nat()), (events, newline, places) => {
      const text = events
        .map(
          ({ event: name, data, comment }) =>
            `${comment ? ': ping\n' : ''}${name ? `event:${name}\n` : ''}data: ${data}\n\n`,
        )
        .join('')
        .replaceAll('\n', newline);
      const parser = createSseParser();
      const read = cut(Buffer.from(text), places).flatMap((chunk) => parser.push(chunk));
      t.deepEqual(
        read,
        events.map(({ event: name, data }) => ({ event: name, data })),
      );
    }),
  );
});

test('a CRLF of which nothing but the first half has come, and then nothing, is one end of a line', (t) => {
  const parser = createSseParser();
  const read = ['event: a\r', '', '\ndata: 1\r\n\r', '', '\n'].flatMap((each) => parser.push(Buffer.from(each)));
  t.deepEqual(read, [{ event: 'a', data: '1' }]);
});

test('several data lines are one text, a field without a value is empty, and unknown fields say nothing', (t) => {
  const parser = createSseParser();
  t.deepEqual(
    parser.push(Buffer.from('\uFEFFid: 1\nretry: 5\ndata: one\ndata\ndata:two\n\nevent: none\n\ndata: open')),
    [{ event: undefined, data: 'one\n\ntwo' }],
  );
  t.deepEqual(parser.push(Buffer.from('\n\n')), [{ event: undefined, data: 'open' }]);
});

test('what is written is read', (t) => {
  t.deepEqual(createSseParser().push(Buffer.from(writeSse({ a: 'ü\n' }, 'named'))), [
    { event: 'named', data: '{"a":"ü\\n"}' },
  ]);
});

for (const [name, piece] of [
  ['one line', 'x'.repeat(40)],
  ['many lines', `data: ${'x'.repeat(30)}\n`],
] as const) {
  test(`an event of ${name} beyond the bound is an upstream failure`, (t) => {
    const parser = createSseParser({ charsMax: 100 });
    const error = t.throws(
      () => {
        for (let i = 0; i < 4; i++) parser.push(Buffer.from(piece));
      },
      { instanceOf: Failure },
    );
    t.is(error?.code, 'upstream');
  });
}

test('the bound is for one event, not for the stream', (t) => {
  const parser = createSseParser({ charsMax: 100 });
  for (let i = 0; i < 100; i++) t.is(parser.push(Buffer.from('data: 12345\n\n')).length, 1);
});
