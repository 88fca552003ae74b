import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import type { Progress } from '#shared/contracts/webhook.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import { goOnFrom } from './progress.ts';

const keepMs = 1_000;
const againMs = 1_000;
/** Events that were not wanted are passed over again after a crash: so many at most. */
const passedMax = 1_000;

/** A webhook's progress, kept durably: what was delivered within a second, what was only passed over now and then. */
export type Keeper = {
  progress(): Progress;
  passed(seq: number): void;
  changed(progress: Progress): void;
  /** Keeps at once what is not kept yet. */
  keep(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Undefined where `stop` comes before what was kept could be read. `warn` hears of what will be tried again. */
export async function openKeeper(
  bus: Bus,
  webhook: Webhook,
  stop: AbortSignal,
  warn: (error: unknown) => void,
): Promise<Keeper | undefined> {
  const found = await readKept(bus, webhook, stop, warn);
  if (!found) return undefined;
  let progress = found;
  let kept = found;
  let isDue = false;
  let keeping = Promise.resolve();
  const put = async () => {
    const now = progress;
    if (now === kept) return;
    isDue = false;
    await bus.positions.put(webhook.id, now).then(() => {
      kept = now;
    }, warn);
  };
  const keep = () => {
    keeping = keeping.then(put);
    return keeping;
  };
  const timer = setInterval(() => {
    if (isDue || progress.seq - kept.seq >= passedMax) void keep();
  }, keepMs);
  return {
    progress: () => progress,
    passed(seq) {
      progress = { ...progress, seq };
    },
    changed(next) {
      progress = next;
      isDue = true;
    },
    keep,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await keeping;
    },
  };
}

async function readKept(
  bus: Bus,
  webhook: Webhook,
  stop: AbortSignal,
  warn: (error: unknown) => void,
): Promise<Progress | undefined> {
  while (!stop.aborted) {
    try {
      const kept = goOnFrom(await bus.positions.get(webhook.id), webhook);
      // The log may be an older one that was brought back: what is not in it has not happened.
      return { ...kept, seq: Math.min(kept.seq, await bus.lastSeq()) };
    } catch (error) {
      warn(error);
      await delay(againMs, undefined, { signal: stop }).catch(() => undefined);
    }
  }
  return undefined;
}
