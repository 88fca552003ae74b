/** An answer as it is kept. Several callers may hold the same body: nobody changes it. */
export type Cached = {
  body: Buffer;
  /** Its content type, or a tag for typed answers. */
  type: string;
  storedMs: number;
};

/** An answer that was just made; `keep`: it is finished and valid, and may be given again. */
export type Made = { body: Buffer; type: string; keep: boolean };

/** Makes an answer, until `signal` is aborted. */
export type Make = (signal: AbortSignal) => Promise<Made>;

/** An answer that was made now. */
export const entryOf = ({ body, type }: Made): Cached => ({ body, type, storedMs: Date.now() });

/** Bytes of an answer that is kept, at most. */
export const entryBytesMax = 256 * 1_024;
const typeCharsMax = 200;
const headerBytesMax = 256;

// toka1 <13 digits: when, in ms> <bytes of the body> <type>\n<body>. The script that reads it knows where the time is.
const header = /^toka1 (\d{13}) (\d{1,9}) ([\x20-\x7e]+)$/;
const printable = /^[\x20-\x7e]+$/;

/** Bytes that an answer takes in Redis at most, its header included. */
export const storedBytesMax = entryBytesMax + headerBytesMax;

/** Whether an answer is small enough to be kept, and its type fit for a header. */
export const canKeep = ({ body, type }: Cached): boolean =>
  body.byteLength <= entryBytesMax && type.length <= typeCharsMax && printable.test(type);

/** What Redis holds of an answer that can be kept. */
export function encodeEntry({ body, type, storedMs }: Cached): Buffer {
  const time = String(Math.trunc(storedMs)).padStart(13, '0');
  return Buffer.concat([Buffer.from(`toka1 ${time} ${body.byteLength} ${type}\n`, 'latin1'), body]);
}

/** Undefined: this is no answer of ours. The bytes may be anyone's. */
export function decodeEntry(stored: Buffer): Cached | undefined {
  const end = stored.subarray(0, headerBytesMax).indexOf(10);
  const [, time, bytes, type] = header.exec(stored.toString('latin1', 0, Math.max(0, end))) ?? [];
  if (time === undefined || type === undefined || type.length > typeCharsMax) return undefined;
  const body = stored.subarray(end + 1);
  return body.byteLength === Number(bytes) && body.byteLength <= entryBytesMax
    ? { body, type, storedMs: Number(time) }
    : undefined;
}

/** Whole seconds since it was stored. */
export const ageOf = ({ storedMs }: Cached): number => Math.max(0, Math.floor((Date.now() - storedMs) / 1_000));
