const headChars = 10_000;
const tailChars = 20_000;

/** Text of which only the beginning and the end are kept. */
export function createTail(head = headChars, tail = tailChars) {
  const decoder = new TextDecoder();
  let beginning = '';
  let end = '';
  let left = 0;
  let bytes = 0;
  return {
    /** Answers how many bytes have come in all. */
    add(chunk: Buffer): number {
      bytes += chunk.byteLength;
      const text = decoder.decode(chunk, { stream: true });
      const room = head - beginning.length;
      beginning += text.slice(0, Math.max(0, room));
      end += text.slice(Math.max(0, room));
      if (end.length > tail) {
        left += end.length - tail;
        end = end.slice(-tail);
      }
      return bytes;
    },
    toString: () => (left > 0 ? `${beginning}\n[… ${left} characters were left out …]\n${end}` : beginning + end),
  };
}
