import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { freePort } from '#shared/dev/launch/ports.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { secret, token } from '#test/helpers/gateway.ts';
import type { Load, Rate } from './gateway/requests.ts';
import { measureRate } from './gateway/requests.ts';
import type { FanOut } from './gateway/streams.ts';
import { measureFanOut } from './gateway/streams.ts';
import { startWorker } from './proxy/worker.ts';
import { median, rule } from './runner/table.ts';
import { openServices } from './scheduler/services.ts';

const clients = 200;
const sizes = {
  full: { rounds: 3, warmMs: 2_000, measureMs: 5_000, streams: { clients, perSecond: 20, paced: 200, flatOut: 1_000 } },
  quick: { rounds: 1, warmMs: 1_000, measureMs: 2_000, streams: { clients, perSecond: 20, paced: 60, flatOut: 200 } },
};

const say = (line: string) => process.stdout.write(`${line}\n`);

/** The gateway beside a Koa that says hello and does nothing else, in one run; and the log to many clients at a time. */
export async function gateway(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { quick: { type: 'boolean' }, nats: { type: 'string' } } });
  const size = values.quick ? sizes.quick : sizes.full;
  await using stack = new AsyncDisposableStack();
  const { bus, open } = await openServices(stack, values.nats ?? 'nats-server', 8);
  const bare = stack.use(await startWorker('test/bench/gateway/bare.ts'));
  const port = await freePort();
  const pid = await open('services/gateway/main.ts', {
    ...{ PORT: String(port), MANAGEMENT_PORT: '0', JWT_SECRET: secret },
    ...{ HTTP_RATE_LIMIT_REQUESTS: '0', SSE_CLIENTS_MAX: '1000', SSE_CALLER_MAX: '1000', BACKLOG_MAX: '10000000' },
  });
  const url = `http://127.0.0.1:${port}`;
  const admin = await token();
  const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' };
  // Its own objective waits for a day that does not come: there are only the runs that the bench asks for.
  const agent = JSON.stringify(agentInput({ schedule: '0 0 29 2 *' }));
  await fetch(`${url}/agents`, { method: 'POST', headers, body: agent });
  const ours = { url, pid, headers };
  const loads: Record<string, Load> = {
    'bare Koa': { url: `http://127.0.0.1:${bare.port}`, pid: bare.pid, method: 'GET', path: '/', status: 200 },
    'GET /agents/{id}': { ...ours, method: 'GET', path: '/agents/scout', status: 200 },
    'POST …/runs': { ...ours, method: 'POST', path: '/agents/scout/runs', body: '{"input":"x"}', status: 202 },
  };
  const rates = new Map<string, Rate[]>();
  const streams: FanOut[] = [];
  for (let round = 1; round <= size.rounds; round++) {
    say(rule(`round ${round} of ${size.rounds}, load ${loadavg()[0]?.toFixed(1)}`));
    for (const [name, load] of Object.entries(loads)) {
      const rate = await measureRate(load, size.warmMs, size.measureMs);
      rates.set(name, [...(rates.get(name) ?? []), rate]);
      say(rateLine(name, rate));
    }
    streams.push(await measureFanOut(bus, url, admin, size.streams));
    for (const line of streams.slice(-1).map(streamLine)) say(line);
  }
  if (size.rounds === 1) return;
  say(rule('medians'));
  for (const [name, list] of rates) {
    const of = (key: keyof Rate) => median(list.map((each) => each[key]));
    say(rateLine(name, { perSecond: of('perSecond'), p50: of('p50'), p99: of('p99'), cpuUs: of('cpuUs') }));
  }
  const of = (pick: (each: FanOut) => number) => median(streams.map(pick));
  const paced = { p50: of((each) => each.paced.p50), p99: of((each) => each.paced.p99) };
  say(streamLine({ paced, deliveredPerSecond: of((each) => each.deliveredPerSecond) }));
}

const rateLine = (name: string, { perSecond, p50, p99, cpuUs }: Rate) =>
  `  ${name.padEnd(18)} ${whole(perSecond)} requests/s   p50 ${p50.toFixed(1).padStart(6)} ms   p99 ${p99.toFixed(1).padStart(6)} ms   processor us ${cpuUs.toFixed(0)}`;

const streamLine = ({ paced: { p50, p99 }, deliveredPerSecond }: FanOut) =>
  `  ${`${clients} streams`.padEnd(18)} ${whole(deliveredPerSecond)} events/s     p50 ${p50.toFixed(1).padStart(6)} ms   p99 ${p99.toFixed(1).padStart(6)} ms   at 20 events/s`;

const whole = (value: number) => Math.round(value).toLocaleString('en').padStart(8);
