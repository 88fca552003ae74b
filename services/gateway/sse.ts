import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Context } from 'koa';
import type { Recorded } from '#shared/contracts/events.ts';
import { goneSignal } from './gone.ts';
import type { Written } from './read-on.ts';
import { readOn } from './read-on.ts';
import type { TenantBus } from './tenant-bus.ts';

type StreamOptions = {
  /** The first sequence to send. */
  from: number;
  /** `run/run_1` or `run/*`; undefined: all. */
  subject: string | undefined;
  wanted(event: Recorded): Promise<boolean>;
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

/** Sends the log as Server-Sent Events, each with its sequence as id, at the reader's own pace. Resolves when either side ends it: `stuck` where the reader was too slow. */
export async function streamEvents(
  bus: Pick<TenantBus, 'follow' | 'readEvent'>,
  ctx: Context,
  { from, subject, wanted, signal }: StreamOptions,
  { heartbeatMs, stuckMsMax, farewellMsMax } = defaults,
): Promise<'ended' | 'stuck'> {
  let stuck = false;
  const out = new PassThrough();
  ctx.set({ 'Cache-Control': 'no-store, no-transform', 'X-Accel-Buffering': 'no' });
  ctx.type = 'text/event-stream';
  ctx.body = out;
  ctx.req.socket.setNoDelay(true);
  out.write('retry: 1000\n: the event log of Toka\n\n');
  const closed = new AbortController();
  const ended = AbortSignal.any([signal, goneSignal(ctx), closed.signal]);
  const beat = setInterval(() => {
    if (!out.writableNeedDrain) out.write(': \n\n');
  }, heartbeatMs);
  try {
    for await (const written of readOn(bus, { from, subject, signal: ended })) {
      if (ended.aborted || !(await wanted(written.event))) continue;
      if (out.write(messageOf(written)) || (await drained(out, stuckMsMax, ended)) || ended.aborted) continue;
      stuck = true;
      // Without an id: the reader's Last-Event-ID stays that of the last event.
      out.write(`event: cut\ndata: {"reason":"nothing was read for ${stuckMsMax} ms; go on with Last-Event-ID"}\n\n`);
      closed.abort();
    }
  } finally {
    clearInterval(beat);
    out.end();
    setTimeout(() => ctx.res.destroy(), signal.aborted || stuck ? farewellMsMax : 0).unref();
  }
  return stuck ? 'stuck' : 'ended';
}

/** JSON may have lines, a field of an event stream may not. */
const messageOf = ({ event: { seq, type }, text }: Written): string =>
  `id: ${seq}\nevent: ${type}\ndata: ${text.replace(/[\r\n]+/g, ' ')}\n\n`;

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
