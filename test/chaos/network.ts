import { monitorEventLoopDelay } from 'node:perf_hooks';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { Link } from './link.ts';
import { openLink } from './link.ts';
import { markIn, says } from './model.ts';
import type { Call, Order, Stall } from './network-client.ts';

// A process of its own: the ways between all others, and the model's provider. What the harness computes must not delay them.

const stallMsMin = 100;
const links = new Map<string, Link>();
let calls: Call[] = [];
let stalls: Stall[] = [];

const provider = await startFakeProvider({
  delayMs: 150,
  script(request) {
    const { timeMs, turns, forced, messages, headers } = request;
    const via = Number(headers.host?.split(':')[1]);
    calls.push({ atMs: timeMs, via, mark: markIn(messages[0]?.text ?? '') ?? '', turns, forced: forced ?? null });
    // All that counts is in the list; whole conversations of hours are not kept.
    provider.requests.splice(0);
    return says(request);
  },
});

const delay = monitorEventLoopDelay({ resolution: 20 });
delay.enable();
setInterval(() => {
  const lateMs = delay.max / 1e6;
  if (lateMs > stallMsMin) stalls.push({ atMs: Date.now(), forMs: Math.round(lateMs) });
  delay.reset();
}, 500).unref();

process.on('message', async ({ id, ...order }: Order & { id: number }) => {
  process.send?.({ id, answer: await obey(order as Order) });
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: Number(new URL(provider.url).port) });

async function obey(order: Order): Promise<unknown> {
  if (order.do === 'open') {
    const link = await openLink(order.port);
    links.set(order.link, link);
    return link.port;
  }
  if (order.do === 'take') {
    const taken = { calls, stalls };
    calls = [];
    stalls = [];
    return taken;
  }
  const link = links.get(order.link);
  if (!link) throw new Error(`there is no link "${order.link}"`);
  if (order.do === 'slow') link.slow(order.ms);
  else link[order.do]();
  return null;
}
