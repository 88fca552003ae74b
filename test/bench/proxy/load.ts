import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { messageOf } from '#shared/errors.ts';
import { countCpu } from '../runner/cpu.ts';
import { createReader } from './http-reader.ts';
import type { Measured } from './job.ts';
import { graceMs, Job } from './job.ts';
import { contentEvents, mark, markOf } from './messages.ts';

// The load: so many connections, on each one request at a time, the next as soon as its answer is whole and right.

type Tally = { sent: number; measuring: boolean; over: boolean; counted: number; tookMs: number[]; firstMs: number[] };

async function work(job: Job): Promise<Measured> {
  const tally: Tally = { sent: 0, measuring: false, over: false, counted: 0, tookMs: [], firstMs: [] };
  const failed = Promise.withResolvers<never>();
  const sockets: Socket[] = [];
  try {
    for (let count = 0; count < job.connections; count++) sockets.push(await open(job.port));
    const loops = Promise.all(sockets.map((socket) => loop(socket, job, tally)));
    loops.catch(failed.reject);
    const stopwatch = async () => {
      await after(job.warmMs);
      const used = await countCpu({ ...job.pids, load: [process.pid] });
      const startedMs = performance.now();
      tally.measuring = true;
      await after(job.measureMs);
      tally.measuring = false;
      const seconds = (performance.now() - startedMs) / 1000;
      const cpuMs = await used();
      tally.over = true;
      await Promise.race([
        loops,
        after(graceMs).then(() => failed.reject(new Error(`an answer did not come within ${graceMs} ms`))),
      ]);
      return { seconds, cpuMs };
    };
    const { seconds, cpuMs } = await Promise.race([stopwatch(), failed.promise]);
    const [took, first] = [Float64Array.from(tally.tookMs).sort(), Float64Array.from(tally.firstMs).sort()];
    if (took.length === 0) throw new Error('nothing was answered in the measured time');
    return {
      sent: tally.sent,
      requests: took.length,
      seconds,
      p50Ms: at(took, 0.5),
      p99Ms: at(took, 0.99),
      firstP50Ms: at(first, 0.5),
      counted: tally.counted,
      cpuMs,
    };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const at = (sorted: Float64Array, part: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket.off('error', reject)));
    socket.once('error', reject);
  });
}

/** Asks on one connection until the job is over. Rejects at the first answer that is not right. */
function loop(socket: Socket, job: Job, tally: Tally): Promise<void> {
  // A buffer of its own: the number in it changes only once the answer to the last one has come.
  const request = Buffer.from(requestOf(job));
  const place = request.indexOf(mark);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let [number, head, startedMs, firstMs] = [mark, '', 0, 0];
  let parts: Buffer[] = [];
  const ask = () => {
    number = markOf(job.first + (tally.sent++ % job.distinct));
    request.write(number, place, 'latin1');
    [firstMs, startedMs] = [0, performance.now()];
    socket.write(request);
  };
  const read = createReader({
    head(text) {
      head = text;
    },
    body(part) {
      if (firstMs === 0) firstMs = performance.now();
      parts.push(part);
    },
    end() {
      const nowMs = performance.now();
      const [only] = parts;
      check(head, only && parts.length === 1 ? only : Buffer.concat(parts), number, job.stream);
      parts = [];
      if (tally.measuring) {
        tally.tookMs.push(nowMs - startedMs);
        tally.firstMs.push(firstMs - startedMs);
        if (job.counted && head.toLowerCase().includes(job.counted)) tally.counted += 1;
      }
      if (tally.over) resolve();
      else ask();
    },
  });
  socket.on('data', (chunk) => {
    try {
      read(chunk);
    } catch (error) {
      reject(error);
    }
  });
  socket.on('error', reject);
  socket.on('close', () => reject(new Error('a connection was closed')));
  ask();
  return promise;
}

function requestOf({ port, headers, body }: Job): string {
  const all = {
    host: `127.0.0.1:${port}`,
    'user-agent': 'toka-bench',
    accept: 'application/json',
    'content-type': 'application/json',
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}

/** Throws unless the answer is this request's own and is whole. */
function check(head: string, body: Buffer, number: string, stream: boolean): void {
  if (!head.startsWith('HTTP/1.1 200 '))
    throw new Error(`${head.slice(0, head.indexOf('\r\n'))} ${body.toString().slice(0, 300)}`);
  const right = stream
    ? body.includes(number) && contents(body) === contentEvents && body.includes('data: [DONE]')
    : body.includes(`"chatcmpl-${number}"`) && body[body.length - 1] === 125;
  if (!right)
    throw new Error(`a wrong answer to ${number}: ${body.toString().slice(0, 300)} … ${body.toString().slice(-100)}`);
}

function contents(body: Buffer): number {
  let count = 0;
  for (let from = body.indexOf('"content":"'); from >= 0; from = body.indexOf('"content":"', from + 11)) count += 1;
  return count;
}

process.on('message', async (message) => {
  try {
    process.send?.({ answer: await work(Job.parse(message)) });
  } catch (error) {
    process.send?.({ error: messageOf(error) });
  }
});
process.once('disconnect', () => process.exit());
process.send?.({});
