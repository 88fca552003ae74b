import test from 'ava';
import { createOutput } from '#shared/dev/toka/output.ts';

/** What a terminal, or a pipe, is given. */
function shown(isTTY: boolean, json: boolean, use: (output: ReturnType<typeof createOutput>) => void) {
  const told = { out: '', err: '' };
  const stream = (name: 'out' | 'err') => ({
    isTTY,
    write(text: string | Uint8Array) {
      told[name] += String(text);
      return true;
    },
  });
  use(createOutput(stream('out'), stream('err'), json));
  return told;
}

const hostile = 'a\x1b[2J\x1b]0;title\x07b\u202ec\u009b31m\nd\u2028e';
const items = [
  { id: 'one', text: hostile },
  { id: 'the-second', text: 'plain' },
];
const columns = { id: ({ id }: (typeof items)[0]) => id, text: ({ text }: (typeof items)[0]) => text };

test('a terminal gets a table, a pipe fields with tabs between, a program JSON', (t) => {
  const rows = items.slice(1);
  t.is(shown(true, false, ({ list }) => list(rows, columns)).out, 'ID          TEXT\nthe-second  plain\n');
  t.is(shown(false, false, ({ list }) => list(rows, columns)).out, 'the-second\tplain\n');
  t.deepEqual(JSON.parse(shown(true, true, ({ list }) => list(rows, columns)).out), rows);
  t.is(shown(true, false, ({ list }) => list([], columns)).out, 'none\n');
  t.is(shown(false, false, ({ list }) => list([], columns)).out, '');
});

test('what a model or an agent wrote moves no cursor, colours nothing and turns no text round, in no form of output', (t) => {
  const acts = /[^\P{C}\n\t]|[\u2028\u2029]/u;
  for (const isTTY of [true, false])
    for (const json of [true, false]) {
      const { out, err } = shown(isTTY, json, (output) => {
        output.list(items, columns);
        output.one(items[0], { text: (item) => item?.text });
        output.say(hostile);
        if (json) output.next({ hostile }, '');
        if (isTTY) output.text(hostile);
      });
      t.notRegex(out + err, acts);
    }
  const { out } = shown(true, true, ({ next }) => next({ hostile }, ''));
  t.deepEqual(JSON.parse(out), { hostile }, 'a program reads what was written');
  t.is(shown(false, false, ({ text }) => text(hostile)).out, hostile, 'a patch goes into a pipe as it is');
});

test('progress is told to a terminal alone, and gives way to what comes', (t) => {
  t.is(shown(false, false, ({ progress }) => progress('at it')).err, '');
  const { err } = shown(true, false, ({ progress, say }) => {
    progress('at\x1b[2J it');
    say('done');
  });
  t.is(err, '\r\x1b[Kat [2J it\r\x1b[Kdone\n');
});
