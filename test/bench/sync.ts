import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBus } from '#shared/bus/bus.ts';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { syncsEachWrite } from '#shared/dev/launch/servers.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { queued } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const writer = { source: '/toka/bench/1', actor: 'service:bench' };
const rounds = 3;
const alone = 500;
const many = 5_000;
const inFlight = 64;

/** What it costs that nats-server brings each write to the disk before it acknowledges it: both ways, in turn. */
export async function sync(): Promise<void> {
  const out = (line: string) => process.stdout.write(`${line}\n`);
  await using folder = await temporaryFolder();
  if (!(await syncsEachWrite(folder.path))) {
    out('the nats-server of the PATH has no sync_interval: always');
    return;
  }
  for (let round = 1; round <= rounds; round++)
    for (const interval of ['2m', 'always'])
      out(`round ${round}  sync_interval ${interval.padEnd(6)}  ${await measure(interval)}`);
}

async function measure(interval: string): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryFolder());
  const port = await freePort();
  const file = join(path, 'nats.conf');
  const jetstream = `jetstream { store_dir: ${JSON.stringify(path)}, sync_interval: ${interval} }`;
  writeFileSync(file, `listen: "127.0.0.1:${port}"\n${jetstream}\n`);
  const server = spawn('nats-server', ['-c', file], { stdio: 'ignore' });
  stack.defer(async () => {
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  });
  await eventually(() => answers(port));
  const options = { url: `nats://127.0.0.1:${port}`, name: 'bench', leaseMs: 30_000, replicas: 1 };
  const bus = stack.use(await openBus(options, () => undefined));
  const append = async () => {
    const startedMs = performance.now();
    await bus.append(newEvent(queued, `run/${newId('run')}`, writer), 0);
    return performance.now() - startedMs;
  };
  const tookMs: number[] = [];
  for (let count = 0; count < alone; count++) tookMs.push(await append());
  const startedMs = performance.now();
  let left = many;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await append();
    }),
  );
  const rate = many / ((performance.now() - startedMs) / 1000);
  const sorted = tookMs.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(2);
  return `one at a time p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; ${inFlight} at a time ${Math.round(rate)}/s`;
}
