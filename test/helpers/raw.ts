import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

type Raw = { status: number; text: string; ms: number };

/** Sends these bytes as they are, piece by piece, and answers what comes until the server closes; status 0: it closed without a word. */
export async function sendRaw(
  url: string,
  pieces: readonly string[],
  { everyMs = 0, waitMs = 5_000 } = {},
): Promise<Raw> {
  const { hostname, port } = new URL(url);
  const startedMs = performance.now();
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => undefined); // a reset is an answer, too
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const sending = (async () => {
    for (const piece of pieces) {
      if (socket.destroyed) return;
      socket.write(piece, 'latin1');
      if (everyMs > 0) await delay(everyMs);
    }
  })();
  const late = setTimeout(() => socket.destroy(), waitMs);
  await closed;
  clearTimeout(late);
  await sending;
  const text = Buffer.concat(chunks).toString('latin1');
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text, ms: performance.now() - startedMs };
}
