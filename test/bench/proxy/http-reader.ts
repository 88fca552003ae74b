const empty = Buffer.alloc(0);
const headBytesMax = 65_536;
const sizeLineBytesMax = 64;

export type Sink = {
  /** The first line and the headers, without the empty line after them. */
  head(text: string): void;
  body(part: Buffer): void;
  end(): void;
};

/**
 * Reads HTTP/1.1 messages one after the other, in whatever pieces they come, with as little work as a load generator may
 * cost. Throws where a message says neither its length nor that it is chunked, and where it has trailers.
 */
export function createReader(sink: Sink): (chunk: Buffer) => void {
  let rest: Buffer = empty;
  let state: 'head' | 'body' | 'size' | 'chunk' | 'gap' | 'last' = 'head';
  let left = 0;

  /** Reads on from `at`; answers where it stopped, or -1 where more has to come first. */
  function step(buffer: Buffer, at: number): number {
    switch (state) {
      case 'head': {
        const end = buffer.indexOf('\r\n\r\n', at);
        if (end < 0) return wait(buffer.length - at, headBytesMax);
        const head = buffer.toString('latin1', at, end);
        left = lengthOf(head);
        state = left === chunked ? 'size' : 'body';
        sink.head(head);
        if (left === 0) finish();
        return end + 4;
      }
      case 'size': {
        const end = buffer.indexOf('\r\n', at);
        if (end < 0) return wait(buffer.length - at, sizeLineBytesMax);
        left = Number.parseInt(buffer.toString('latin1', at, end), 16);
        if (!Number.isFinite(left)) throw new Error('a chunk has no size');
        state = left > 0 ? 'chunk' : 'last';
        return end + 2;
      }
      case 'body':
      case 'chunk': {
        const end = Math.min(at + left, buffer.length);
        left -= end - at;
        sink.body(at === 0 && end === buffer.length ? buffer : buffer.subarray(at, end));
        if (left === 0 && state === 'chunk') state = 'gap';
        else if (left === 0) finish();
        return end;
      }
      case 'gap':
      case 'last': {
        if (buffer.length - at < 2) return -1;
        if (buffer[at] !== 13 || buffer[at + 1] !== 10)
          throw new Error('a chunk does not end where it says, or has trailers');
        if (state === 'gap') state = 'size';
        else finish();
        return at + 2;
      }
    }
  }

  function finish() {
    state = 'head';
    sink.end();
  }

  return (chunk) => {
    const buffer = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    rest = empty;
    for (let at = 0; at < buffer.length; ) {
      const next = step(buffer, at);
      if (next < 0) {
        rest = buffer.subarray(at);
        return;
      }
      at = next;
    }
  };
}

const chunked = -1;

function lengthOf(head: string): number {
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return Number(length);
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) return chunked;
  throw new Error(`a message does not say its length: ${head.slice(0, 200)}`);
}

function wait(bytes: number, bytesMax: number): number {
  if (bytes > bytesMax) throw new Error(`a head or a chunk's size is longer than ${bytesMax} bytes`);
  return -1;
}
