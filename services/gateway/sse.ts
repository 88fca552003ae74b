import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Context } from 'koa';
import type { Bus } from '#shared/bus/bus.ts';
import { parseRaw } from '#shared/bus/log.ts';
import type { Recorded } from '#shared/contracts/events.ts';

const heartbeatMs = 15_000;
const stuckMsMax = 60_000;

type StreamOptions = {
  /** The first sequence to send. */
  from: number;
  /** A subject of the log, wildcards included; undefined: all. */
  subject: string | undefined;
  wanted(type: string): boolean;
  /** Aborted: the stream ends. */
  signal: AbortSignal;
};

/** Sends the log as Server-Sent Events, each with its sequence as id, at the reader's own pace. Resolves when either side ends it. */
export function streamEvents(bus: Bus, ctx: Context, { from, subject, wanted, signal }: StreamOptions): Promise<void> {
  const out = new PassThrough();
  ctx.set({ 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
  ctx.type = 'text/event-stream';
  ctx.body = out;
  ctx.req.socket.setNoDelay(true);
  out.write('retry: 1000\n: the event log of Toka\n\n');
  const closed = new AbortController();
  ctx.res.once('close', () => closed.abort());
  const ended = AbortSignal.any([signal, closed.signal]);
  const beat = setInterval(() => {
    if (!out.writableNeedDrain) out.write(': \n\n');
  }, heartbeatMs);

  const send = async () => {
    for await (const raw of bus.follow({ from, signal: ended, ...(subject === undefined ? {} : { subject }) })) {
      const event = read(raw);
      if (!event || !wanted(event.type)) continue;
      const text = new TextDecoder().decode(raw.bytes);
      if (out.write(`id: ${raw.seq}\nevent: ${event.type}\ndata: ${text}\n\n`)) continue;
      // Whoever reads nothing for a minute is cut off, and may come back with Last-Event-ID.
      const patience = AbortSignal.any([ended, AbortSignal.timeout(stuckMsMax)]);
      await once(out, 'drain', { signal: patience }).catch(() => closed.abort());
    }
  };
  return send().finally(() => {
    clearInterval(beat);
    out.end();
    if (!signal.aborted) ctx.res.destroy();
  });
}

function read(raw: Parameters<typeof parseRaw>[0]): Recorded | undefined {
  try {
    return parseRaw(raw);
  } catch {
    return undefined; // somebody else's message is not passed on
  }
}
