const everyMs = 50;
const charsMax = 64_000;

/** Text on its way to a caller who wants it while it is written. */
export type Chunks = {
  add(text: string): void;
  /** Sends what is left; nothing is sent after that. */
  [Symbol.dispose](): void;
};

/** Sends the first text at once, and what follows in pieces of up to 50 ms, so that a fast model does not flood the bus. */
export function createChunks(send: (text: string) => void): Chunks {
  let waiting = '';
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (waiting === '' || ended) return;
    for (let from = 0; from < waiting.length; from += charsMax) send(waiting.slice(from, from + charsMax));
    waiting = '';
    timer = setTimeout(flush, everyMs);
  };
  return {
    add(text) {
      waiting += text;
      if (!timer || waiting.length >= charsMax) flush();
    },
    [Symbol.dispose]() {
      flush();
      clearTimeout(timer);
      ended = true;
    },
  };
}
