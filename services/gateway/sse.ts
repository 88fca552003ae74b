import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Context } from 'koa';
import type { Bus } from '#shared/bus/bus.ts';
import type { RawEvent } from '#shared/bus/log.ts';
import { parseRaw } from '#shared/bus/log.ts';

type StreamOptions = {
  /** The first sequence to send. */
  from: number;
  /** A subject of the log, wildcards included; undefined: all. */
  subject: string | undefined;
  wanted(type: string): boolean;
  /** Aborted: the stream ends. */
  signal: AbortSignal;
};

const defaults = {
  heartbeatMs: 15_000,
  /** Whoever reads nothing for so long is cut off, and may come back with Last-Event-ID. */
  stuckMsMax: 60_000,
  /** How long the last bytes may take when we end it. */
  farewellMsMax: 1_000,
};

/** Sends the log as Server-Sent Events, each with its sequence as id, at the reader's own pace. Resolves when either side ends it. */
export async function streamEvents(
  bus: Bus,
  ctx: Context,
  { from, subject, wanted, signal }: StreamOptions,
  { heartbeatMs, stuckMsMax, farewellMsMax } = defaults,
): Promise<void> {
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
  try {
    for await (const raw of bus.follow({ from, signal: ended, ...(subject === undefined ? {} : { subject }) })) {
      const message = messageOf(raw, wanted);
      if (message === undefined || ended.aborted) continue;
      if (!out.write(message) && !(await drained(out, stuckMsMax, ended))) closed.abort();
    }
  } finally {
    clearInterval(beat);
    out.end();
    setTimeout(() => ctx.res.destroy(), signal.aborted ? farewellMsMax : 0).unref();
  }
}

/** Undefined for what is not wanted, and for somebody else's message, which is not passed on. */
function messageOf(raw: RawEvent, wanted: (type: string) => boolean): string | undefined {
  try {
    const { seq, ...event } = parseRaw(raw);
    if (!wanted(event.type)) return undefined;
    // JSON may have lines, a field of an event stream may not.
    const data = new TextDecoder().decode(raw.bytes).replace(/[\r\n]+/g, ' ');
    return `id: ${seq}\nevent: ${event.type}\ndata: ${data}\n\n`;
  } catch {
    return undefined;
  }
}

/** Whether the reader took what was waiting, within `msMax`. */
async function drained(out: PassThrough, msMax: number, signal: AbortSignal): Promise<boolean> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), msMax);
  try {
    await once(out, 'drain', { signal: AbortSignal.any([signal, patience.signal]) });
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
