import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { PlantName } from './plant.ts';
import { patched, plantIn, plants, signs } from './plant.ts';
import { checks } from './report.ts';

for (const name of Object.keys(plants) as PlantName[])
  test(`the bug ${name} can be put into the sources as they are now`, async (t) => {
    await using folder = await temporaryFolder();
    const root = await plantIn(folder.path, name);
    for (const { file, from, to } of plants[name]) {
      const [before, after] = [await readFile(file, 'utf8'), await readFile(join(root, file), 'utf8')];
      t.true(before.includes(from), 'the sources themselves stay as they are');
      t.not(after, before);
      t.true(after.includes(to));
    }
    t.true(signs[name].every((sign) => checks.some((check) => check === sign)));
  });

test('a bug whose place has gone, or is there twice, is an error that names it', (t) => {
  const patch = { file: 'a.ts', from: 'one', to: 'two' };
  t.is(patched('is one', patch), 'is two');
  t.throws(() => patched('is none of them', { ...patch, from: 'three' }), { message: /^a\.ts: .* 0 times, .*three$/ });
  t.throws(() => patched('one one', patch), { message: /2 times/ });
});
