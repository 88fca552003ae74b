import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

// Loaded into each service by --import: gives it a clock that can be moved, tells of its memory when it is asked by a signal,
// and writes down when the machine has not let it run.

const { CHAOS_CLOCK: clockFile = '', CHAOS_MEMORY: memoryFile = '', CHAOS_STALLS: stallsFile = '' } = process.env;
const lookMs = 50;
const ActualDate = Date;
let offsetMs = 0;
let lookedMs = Number.NEGATIVE_INFINITY;

/** The machine's time and what the file says on top of it; only the calendar's clock moves, as when an operator sets it. */
function now(): number {
  if (performance.now() - lookedMs > lookMs) {
    lookedMs = performance.now();
    try {
      offsetMs = Number(readFileSync(clockFile, 'utf8')) || 0;
    } catch {
      // it is being written
    }
  }
  return ActualDate.now() + offsetMs;
}

globalThis.Date = new Proxy(ActualDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new ActualDate(now()).toString(),
  get: (target, key, receiver) => (key === 'now' ? now : Reflect.get(target, key, receiver)),
});

process.on('SIGUSR2', () => {
  // Twice: what the first leaves to finalizers, the second takes.
  globalThis.gc?.();
  setImmediate(() => {
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    writeFileSync(`${memoryFile}.new`, JSON.stringify({ pid: process.pid, heapUsed, external, rss }));
    renameSync(`${memoryFile}.new`, memoryFile);
  });
});

const beatMs = 200;
const stallMsMin = 1_500;
let beatenMs = performance.now();
setInterval(() => {
  const lateMs = performance.now() - beatenMs - beatMs;
  beatenMs = performance.now();
  if (lateMs < stallMsMin) return;
  const untilMs = ActualDate.now();
  appendFileSync(stallsFile, `${JSON.stringify({ fromMs: Math.floor(untilMs - lateMs - beatMs), untilMs })}\n`);
}, beatMs).unref();
