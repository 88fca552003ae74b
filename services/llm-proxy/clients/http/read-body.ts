import type { IncomingMessage } from 'node:http';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Encoding } from '../../content-encoding.ts';
import { createUnpacker, encodingOf, encodings } from '../../content-encoding.ts';
import type { Held } from './memory.ts';
import { bytesPerByte } from './memory.ts';

const bodyBytesMax = 32 * 1_024 * 1_024;
const silentMsMax = 15_000;

/** What a request says of its body's length; undefined: nothing. */
export function lengthOf({ headers }: IncomingMessage): number | undefined {
  const length = Number(headers['content-length']);
  return Number.isSafeInteger(length) && length >= 0 ? length : undefined;
}

/**
 * The body of a request, whose memory is taken before it is read: `held` has it for the length that the request names, else grows.
 * Unpacks it if it is compressed. Throws `too-large` over 32 MiB, `unsupported` for an encoding that we have not, `incomplete` where it does not come in time, or what `held` throws; the rest is left unread.
 */
export async function readBody(incoming: IncomingMessage, held: Held, timeoutMs: number): Promise<Buffer> {
  const encoding = encodingOf(incoming.headers['content-encoding']);
  if (encoding === 'unknown') throw unknownEncoding(incoming.headers['content-encoding']);
  const length = lengthOf(incoming);
  checkSize(length ?? 0);
  const whole = length === undefined ? undefined : Buffer.allocUnsafeSlow(length);
  const parts: Buffer[] = [];
  let size = 0;
  await eachPart(incoming, timeoutMs, (part) => {
    checkSize(size + part.length);
    if (whole) part.copy(whole, size);
    else {
      // Its parts, and then the whole.
      held.grow(part.length * (bytesPerByte + 1));
      parts.push(part);
    }
    size += part.length;
  });
  const body = whole ?? Buffer.concat(parts);
  return encoding ? unpackInTurn(body, encoding, held) : body;
}

const unknownEncoding = (name: string | undefined): Failure =>
  new Failure(
    'unsupported',
    `Content-Encoding: ${name?.slice(0, 60)} cannot be read here; send the body as it is, or with one of ${encodings.join(', ')}`,
  );

let turn: Promise<unknown> = Promise.resolve();

/** One after the other: what an unpacker takes for its window, beside what it gives, is in nobody's count. */
function unpackInTurn(packed: Buffer, encoding: Encoding, held: Held): Promise<Buffer> {
  const unpacked = turn.then(() => unpack(packed, encoding, held));
  turn = unpacked.catch(() => undefined);
  return unpacked;
}

/** The memory of each piece is taken as it comes, so a small body that becomes a large one ends where a large one would. */
function unpack(packed: Buffer, encoding: Encoding, held: Held): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const unpacker = createUnpacker(encoding, packed);
    unpacker.on('data', (part: Buffer) => {
      try {
        checkSize(size + part.length);
        held.grow(part.length * (bytesPerByte + 1));
      } catch (thrown) {
        unpacker.destroy();
        return reject(thrown);
      }
      size += part.length;
      parts.push(part);
    });
    unpacker.on('end', () => resolve(Buffer.concat(parts)));
    unpacker.on('error', (error) =>
      reject(
        new Failure('invalid', `the body is not what its Content-Encoding says (${encoding}): ${messageOf(error)}`),
      ),
    );
    unpacker.end(packed);
  });
}

function checkSize(size: number): void {
  if (size > bodyBytesMax) throw new Failure('too-large', `the body is larger than ${bodyBytesMax} bytes`);
}

/** Hands over what comes until all has come. Throws what `take` throws. */
function eachPart(incoming: IncomingMessage, timeoutMs: number, take: (part: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const silenceMs = Math.min(silentMsMax, timeoutMs);
    const late = (ms: number) => () =>
      end(new Failure('incomplete', `the body did not come in whole within ${ms / 1_000} s (LLM_REQUEST_TIMEOUT)`));
    const whole = setTimeout(late(timeoutMs), timeoutMs);
    const silence = setTimeout(
      () => end(new Failure('incomplete', `nothing more of the body came for ${silenceMs / 1_000} s`)),
      silenceMs,
    );
    const onPart = (part: Buffer) => {
      silence.refresh();
      try {
        take(part);
      } catch (thrown) {
        end(thrown);
      }
    };
    const onEnd = () => end(undefined);
    const onBroken = () => end(new Failure('invalid', 'the body was cut off'));
    const end = (thrown: unknown) => {
      clearTimeout(whole);
      clearTimeout(silence);
      incoming.off('data', onPart).off('end', onEnd).off('close', onBroken);
      // What still comes is thrown away, so that the client gets to read the answer.
      incoming.resume();
      if (thrown === undefined) resolve();
      else reject(thrown);
    };
    incoming.on('data', onPart).on('end', onEnd).on('close', onBroken).on('error', onBroken);
  });
}
