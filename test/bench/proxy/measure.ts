import { z } from 'zod';
import type { Contender } from './contender.ts';
import type { Job } from './job.ts';
import { graceMs, Measured } from './job.ts';
import { requestBody } from './messages.ts';
import type { Phase } from './phases.ts';
import type { Worker } from './worker.ts';

export type Times = { warmMs: number; measureMs: number };

export type Workers = { load: Worker; upstream: Worker };

/** Numbers of requests that one measurement may use up. */
const numbers = 10_000_000;
const hitsWanted = 0.99;
const shareMax = 0.02;
let measurements = 0;

/**
 * One contender in one phase. Throws where an answer is wrong, where upstream was not asked once for each uncached request, and
 * where cached ones were not from the cache.
 */
export async function measure(
  { load, upstream }: Workers,
  contender: Contender,
  { kind, connections }: Phase,
  { warmMs, measureMs }: Times,
): Promise<Measured> {
  measurements += 1;
  const cached = kind === 'cached';
  const job: Job = {
    port: contender.port,
    headers: contender.headers,
    body: requestBody(kind),
    first: cached ? 1 : measurements * numbers,
    distinct: cached ? 1 : numbers,
    stream: kind === 'stream' || kind === 'late-stream',
    counted: cached ? 'x-toka-cache: hit' : undefined,
    connections,
    warmMs,
    measureMs,
    pids: Object.fromEntries(Object.entries(contender.pids).flatMap(([kind, pids]) => (pids ? [[kind, pids]] : []))),
  };
  const asked = () => upstream.ask({}, z.number(), 5_000);
  const before = await asked();
  const measured = await load.ask(job, Measured, warmMs + measureMs + 3 * graceMs);
  const came = (await asked()) - before;
  if (!cached && came !== measured.sent)
    throw new Error(`upstream was asked ${came} times for ${measured.sent} requests`);
  if (cached && came > measured.sent * shareMax)
    throw new Error(`upstream was asked ${came} times for ${measured.sent} requests that the cache should answer`);
  if (cached && measured.counted < measured.requests * hitsWanted)
    throw new Error(`only ${measured.counted} of ${measured.requests} answers say x-toka-cache: hit`);
  return measured;
}
