import test from 'ava';
import { refusalOf } from '#shared/bus/refusals.ts';
import type { Room } from '#shared/disk.ts';
import { diskFailure, enoughBytes, reserveBytes, roomProblem, stateOf } from '#shared/disk.ts';
import { isTransient } from '#shared/errors.ts';

const room = (some: Partial<Room>): Room => ({
  ...{ freeBytes: 10 * enoughBytes, sizeBytes: 100 * enoughBytes, filesFree: 1_000_000, isWritable: true },
  ...some,
});

test('a disk is full below its reserve, and goes on only once there is more than that', (t) => {
  t.is(stateOf(room({})), 'ok');
  t.is(stateOf(room({ freeBytes: reserveBytes })), 'ok');
  t.is(stateOf(room({ freeBytes: reserveBytes - 1 })), 'full');
  t.is(stateOf(room({ freeBytes: reserveBytes }), 'full'), 'full');
  t.is(stateOf(room({ freeBytes: enoughBytes }), 'full'), 'ok');
});

test('a disk without room for another file is full; where the file system sets no number, it is not', (t) => {
  const few = room({ filesFree: 12 });
  t.is(stateOf(few), 'full');
  t.regex(roomProblem('archive', few, 'full'), /^the disk under archive is full: .* and room for 12 files are left/);
  t.is(stateOf(room({ filesFree: undefined })), 'ok');
});

test('a disk that can only be read is named as such, full or not', (t) => {
  const broken = room({ isWritable: false, freeBytes: 0 });
  t.is(stateOf(broken, 'full'), 'read-only');
  t.is(roomProblem('archive', broken, 'read-only'), 'the disk under archive can only be read');
});

test('an error of a write says whether the disk is the reason', (t) => {
  const of = (code: string) => Object.assign(new Error(`${code}: no`), { code });
  for (const code of ['ENOSPC', 'EDQUOT', 'EROFS']) {
    const failure = diskFailure(of(code), 'the deliverable');
    t.like(failure, { code: 'disk-full', message: `the deliverable: ${code}: no` });
    t.true(isTransient(failure));
  }
  t.is(diskFailure(of('EACCES'), 'x'), undefined);
  t.is(diskFailure('ENOSPC', 'x'), undefined);
});

const refusals: [number, number, string][] = [
  [503, 10023, 'insufficient resources'],
  [500, 10047, 'insufficient storage resources available'],
  [500, 10028, 'insufficient memory resources available'],
  [503, 10077, 'maximum bytes exceeded'],
  [503, 10077, 'maximum messages exceeded'],
];

test('what JetStream has no room for is refused as such, whatever was full', (t) => {
  for (const [code, err_code, description] of refusals) {
    const refusal = refusalOf({ code, err_code, description });
    t.is(refusal?.code, 'disk-full', description);
    t.true(refusal?.message.includes(description));
  }
});

test('what passes by itself, or is another writer, is no lack of room', (t) => {
  t.is(refusalOf({ code: 503, err_code: 10008, description: 'JetStream system temporarily unavailable' }), undefined);
  t.is(refusalOf({ code: 400, err_code: 10071, description: 'wrong last sequence: 4' }), undefined);
  t.is(refusalOf({ code: 503, err_code: 10077, description: 'message hash error' }), undefined);
});
