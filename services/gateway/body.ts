import type { IncomingMessage } from 'node:http';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Room } from './body-room.ts';
import { refusal } from './input.ts';

const depthMax = 50;

/** Reads a JSON body of at most `bytesMax`, and of no more than `room` has, however it is sent; an empty one is `undefined`. */
export async function readJson(request: IncomingMessage, bytesMax: number, room: Pick<Room, 'take'>): Promise<unknown> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (encoding !== 'identity') throw new Failure('unsupported', 'the body must be sent without "Content-Encoding"');
  const bytes = await readBytes(request, bytesMax, room);
  if (bytes.byteLength === 0) return undefined;
  if (!/^application\/(json|[\w.-]+\+json)\s*(;|$)/i.test(type))
    throw new Failure('unsupported', 'the body must be JSON, sent with "Content-Type: application/json"');
  const value = parseJson(bytes);
  checkShape(value);
  return value;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw refusal([{ field: 'the body', message: `is not JSON: ${messageOf(error)}` }]);
  }
}

async function readBytes(request: IncomingMessage, bytesMax: number, room: Pick<Room, 'take'>): Promise<Buffer> {
  const tooLarge = () => new Failure('too-large', `the body has more than ${bytesMax} bytes`);
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > bytesMax) throw tooLarge();
  // What says how long it is has room for all of it before a byte is read: what was begun can be finished.
  room.take(length);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) throw tooLarge();
      if (length === 0) room.take(chunk.byteLength);
      chunks.push(chunk);
    }
  } catch (error) {
    // Its client has left, or was cut off for being slow: no fault of ours.
    if (!(error instanceof Failure) && request.destroyed)
      throw new Failure('incomplete', 'the body did not come in whole, or not in time', { cause: error });
    throw error;
  }
  return Buffer.concat(chunks);
}

/**
 * How deep it goes, and whether it has keys that change what an object is where it is copied carelessly. Level by level: what walks a value
 * recursively would overflow the stack on a hostile one.
 */
function checkShape(value: unknown): void {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > depthMax) throw refusal([{ field: 'the body', message: `is nested more than ${depthMax} deep` }]);
    const objects = level.filter((each) => typeof each === 'object' && each !== null);
    const key = objects.map(pollutingKey).find((each) => each !== undefined);
    if (key) throw refusal([{ field: key, message: 'is a name that no field may have' }]);
    level = objects.flatMap((each) => Object.values(each));
  }
}

function pollutingKey(object: object): string | undefined {
  if (Object.hasOwn(object, '__proto__')) return '__proto__';
  const own: unknown = Object.getOwnPropertyDescriptor(object, 'constructor')?.value;
  const isPolluting = typeof own === 'object' && own !== null && Object.hasOwn(own, 'prototype');
  return isPolluting ? 'constructor.prototype' : undefined;
}
