/** What the first bytes of a tunnel are. */
export type Opening =
  | { kind: 'more' }
  | { kind: 'plain' }
  | { kind: 'broken' }
  | { kind: 'tls'; serverName: string | undefined };

// Real hellos are of 2 KiB and one record, seldom two; the bounds keep whoever dribbles one from costing much.
const helloBytesMax = 16 * 1024;
const recordsMax = 8;
const [handshake, clientHello, serverNameExtension, hostName] = [22, 1, 0, 0];

/** Reads whom a TLS client asks for, however its hello is cut into records; bytes that are not TLS are `plain`. */
export function readOpening(bytes: Buffer): Opening {
  if (bytes.length === 0) return { kind: 'more' };
  if (bytes[0] !== handshake || (bytes.length > 1 && bytes[1] !== 3)) return { kind: 'plain' };
  try {
    const message = joinRecords(bytes);
    if (message === undefined) return bytes.length > helloBytesMax ? { kind: 'broken' } : { kind: 'more' };
    return { kind: 'tls', serverName: serverNameOf(message) };
  } catch {
    return { kind: 'broken' };
  }
}

/** The hello's body out of as many records as it took; undefined: some are still to come. */
function joinRecords(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    const length = bytes.readUInt16BE(at + 3);
    if (bytes[at] !== handshake || bytes[at + 1] !== 3 || length === 0) throw new Error('no handshake');
    parts.push(bytes.subarray(at + 5, at + 5 + length));
    if (parts.length > recordsMax) throw new Error('too many records');
  }
  const message = Buffer.concat(parts);
  if (message.length > 0 && message[0] !== clientHello) throw new Error('no hello');
  if (message.length < 4) return undefined;
  const whole = 4 + message.readUIntBE(1, 3);
  if (whole > helloBytesMax) throw new Error('too long');
  return message.length < whole ? undefined : message.subarray(4, whole);
}

function serverNameOf(hello: Buffer): string | undefined {
  const read = readerOf(hello);
  read.take(2 + 32); // version, random
  read.vector(1); // session
  read.vector(2); // ciphers
  read.vector(1); // compressions
  if (read.isAtEnd()) return undefined;
  const names: string[] = [];
  const extensions = readerOf(read.vector(2));
  while (!extensions.isAtEnd()) {
    const type = extensions.take(2).readUInt16BE();
    const body = extensions.vector(2);
    if (type !== serverNameExtension) continue;
    const list = readerOf(readerOf(body).vector(2));
    while (!list.isAtEnd()) {
      if (list.take(1)[0] !== hostName) throw new Error('unknown kind of name');
      names.push(list.vector(2).toString('latin1'));
    }
  }
  // Two names are for two readers to differ over.
  if (names.length > 1) throw new Error('several names');
  return names[0];
}

function readerOf(bytes: Buffer) {
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length) throw new Error('cut short');
    at += length;
    return bytes.subarray(at - length, at);
  };
  return {
    take,
    vector: (lengthBytes: 1 | 2) => take(take(lengthBytes).readUIntBE(0, lengthBytes)),
    isAtEnd: () => at === bytes.length,
  };
}
