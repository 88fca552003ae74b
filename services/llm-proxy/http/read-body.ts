import type { IncomingMessage } from 'node:http';
import { Failure } from '#shared/errors.ts';

const bodyBytesMax = 32 * 1_024 * 1_024;

/** The body of a request. Throws `too-large` over 32 MB, and leaves the rest unread. */
export function readBody(incoming: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = () => {
      incoming.removeAllListeners('data');
      // What still comes is thrown away, so that the client gets to read the answer.
      incoming.resume();
      reject(new Failure('too-large', `the body is larger than ${bodyBytesMax} bytes`));
    };
    if (Number(incoming.headers['content-length']) > bodyBytesMax) return tooLarge();
    const parts: Buffer[] = [];
    let size = 0;
    incoming.on('data', (part: Buffer) => {
      size += part.length;
      if (size > bodyBytesMax) tooLarge();
      else parts.push(part);
    });
    incoming.on('end', () => resolve(parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)));
    incoming.on('error', () => reject(new Failure('invalid', 'the body was cut off')));
  });
}
