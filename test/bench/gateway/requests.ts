import { Pool } from 'undici';
import { countCpu } from '../runner/cpu.ts';

export type Load = {
  url: string;
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  body?: string;
  /** What each answer must be. */
  status: number;
  /** Of the process that answers. */
  pid: number;
};
export type Rate = { perSecond: number; p50: number; p99: number; cpuUs: number };

const connections = 32;

/** One request after the other on each of so many connections, for a while after a while that does not count. Throws on a wrong answer. */
export async function measureRate(load: Load, warmMs: number, measureMs: number): Promise<Rate> {
  const { url, method, path, headers = {}, body = null, status } = load;
  const pool = new Pool(url, { connections });
  const tookMs: number[] = [];
  let untilMs = performance.now() + warmMs;
  const run = async (took: number[]) => {
    while (performance.now() < untilMs) {
      const startedMs = performance.now();
      const answer = await pool.request({ method, path, headers, body });
      const text = await answer.body.text();
      if (answer.statusCode !== status) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
      took.push(performance.now() - startedMs);
    }
  };
  const all = (took: number[]) => Promise.all(Array.from({ length: connections }, () => run(took)));
  await all([]);
  const used = await countCpu({ server: [load.pid] });
  const startedMs = performance.now();
  untilMs = startedMs + measureMs;
  await all(tookMs);
  const seconds = (performance.now() - startedMs) / 1000;
  const { server = 0 } = await used();
  await pool.destroy();
  const at = shareOf(tookMs);
  return { perSecond: tookMs.length / seconds, p50: at(0.5), p99: at(0.99), cpuUs: (server * 1000) / tookMs.length };
}

/** What a share of the values is at most. */
export function shareOf(values: readonly number[]): (share: number) => number {
  const sorted = values.toSorted((a, b) => a - b);
  return (share) => sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? Number.NaN;
}
