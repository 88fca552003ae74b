import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Lease } from '../../../services/agent-runner/sandbox/lease.ts';
import { openLease } from '../../../services/agent-runner/sandbox/lease.ts';
import { confinePath, startBubblewrap } from '../../../services/agent-runner/sandbox/start.ts';

const never = new AbortController().signal;
const MiB = 1024 ** 2;

/** How long a call waits for its sandbox, and what a held one costs. */
export async function sandboxLatency(quick = false): Promise<Record<string, string>> {
  const confine = confinePath();
  if (!confine) return { sandbox: 'toka-confine is not built: npm run setup' };
  const count = quick ? 10 : 30;
  const cold: number[] = [];
  const memory: number[] = [];
  for (let index = 0; index < count; index++) {
    const startedMs = performance.now();
    const { lease, pid } = await open(confine);
    cold.push(performance.now() - startedMs);
    memory.push(treeBytes(pid) / MiB);
    await lease.end();
  }
  const { lease } = await open(confine);
  await timed(20, () => lease.call('shell', { command: 'true' }, 10_000, never));
  // In turn, so that whatever else this machine does hits both.
  const inside: number[] = [];
  const outside: number[] = [];
  for (let index = 0; index < count * 5; index++) {
    inside.push(...(await timed(1, () => lease.call('shell', { command: 'true' }, 10_000, never))));
    outside.push(...(await timed(1, () => spawnSync('bash', ['--noprofile', '--norc', '-c', 'true']))));
  }
  await lease.end();
  const over = quantile(inside, 0.5) - quantile(outside, 0.5);
  return {
    'true in a warm lease, p50': `${quantile(inside, 0.5).toFixed(1)} ms, unsandboxed ${quantile(outside, 0.5).toFixed(1)} ms: ${over.toFixed(1)} ms over (wanted: < 8)`,
    'a cold lease with an empty workspace, p50 / p99': `${quantile(cold, 0.5).toFixed(0)} / ${quantile(cold, 0.99).toFixed(0)} ms`,
    'memory of a held, idle sandbox': `${quantile(memory, 0.5).toFixed(0)} MiB`,
  };
}

async function open(confine: string): Promise<{ lease: Lease; pid: number }> {
  const sandbox = startBubblewrap(confine, { memoryBytes: 512 * MiB, diskBytes: 64 * MiB });
  const wish = { branch: 'main', author: 'bench', network: false, processesMax: 128, fileBytesMax: 64 * MiB };
  const lease = await openLease(sandbox, { ...wish, serveEgress: undefined, watch: undefined });
  await lease.begin(null, null);
  return { lease, pid: sandbox.pid ?? 0 };
}

async function timed(count: number, work: () => unknown): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const startedMs = performance.now();
    await work();
    times.push(performance.now() - startedMs);
  }
  return times;
}

const quantile = (values: number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

/** Memory of its own that a process and all below it hold. */
function treeBytes(pid: number): number {
  const own = Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return children.reduce((sum, child) => sum + treeBytes(child), own);
}
