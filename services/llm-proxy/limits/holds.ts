import type { Redis } from 'ioredis';
import { z } from 'zod';

/** The headers of a provider's answer, by their names in small letters. */
export type AnswerHeaders = (name: string) => string | undefined;

/** Until when a provider wants to be left alone. Times are epoch milliseconds. */
export type Holds = {
  /** Reads what an answer says of the provider's limits for `place`, an endpoint's model. */
  observe(place: string, status: number, headers: AnswerHeaders): void;
  /** 0: it may be asked. */
  until(place: string): number;
  [Symbol.dispose](): void;
};

const key = '{toka:limit}:holds';
const keptMs = 600_000;
const holdMsMax = 300_000;
const lookMs = 1_000;
const placesMax = 2_000;
const Kept = z.record(z.string(), z.coerce.number());

/** Shared with the other replicas through Redis within a second, as far as it answers. */
export function createHolds(redis: Redis): Holds {
  const held = new Map<string, number>();
  const hold = (place: string, untilMs: number) => {
    if (held.size > placesMax) held.clear();
    if (untilMs > (held.get(place) ?? 0)) held.set(place, untilMs);
  };
  const look = async () => {
    const kept = Kept.parse(await redis.hgetall(key));
    const nowMs = Date.now();
    const over = Object.keys(kept).filter((place) => !((kept[place] ?? 0) > nowMs));
    for (const [place, untilMs] of Object.entries(kept))
      if (untilMs > nowMs) hold(place, Math.min(untilMs, nowMs + holdMsMax));
    if (over.length > 0) await redis.hdel(key, ...over);
  };
  const looking = setInterval(() => void look().catch(() => undefined), lookMs).unref();
  return {
    observe(place, status, headers) {
      const waitMs = Math.min(holdMsMax, heldFor(status, headers, Date.now()));
      if (!(waitMs > 0)) return;
      const untilMs = Date.now() + waitMs;
      hold(place, untilMs);
      void redis
        .multi()
        .hset(key, place, Math.ceil(untilMs))
        .pexpire(key, keptMs)
        .exec()
        .catch(() => undefined);
    },
    until(place) {
      const untilMs = held.get(place) ?? 0;
      const nowMs = Date.now();
      // Further ahead than any is held: the clock was set back.
      if (untilMs > 0 && (untilMs <= nowMs || untilMs > nowMs + holdMsMax)) held.delete(place);
      return held.get(place) ?? 0;
    },
    [Symbol.dispose]: () => clearInterval(looking),
  };
}

const refusals: ReadonlySet<number> = new Set([429, 503, 529]);
const resets = [
  ...['requests', 'tokens', 'input-tokens', 'output-tokens'].map((kind) => [
    `anthropic-ratelimit-${kind}-remaining`,
    `anthropic-ratelimit-${kind}-reset`,
  ]),
  ...['requests', 'tokens'].map((kind) => [`x-ratelimit-remaining-${kind}`, `x-ratelimit-reset-${kind}`]),
] as [string, string][];

/** For how many milliseconds an answer wants no more calls. Source: the providers' pages on rate limits, November 2026. */
export function heldFor(status: number, headers: AnswerHeaders, nowMs: number): number {
  const waits = resets.flatMap(([remaining, reset]) => {
    const left = headers(remaining);
    return left !== undefined && Number(left) <= 0 ? [readWait(headers(reset), nowMs)] : [];
  });
  if (refusals.has(status)) waits.push(readWait(headers('retry-after'), nowMs));
  return Math.max(0, ...waits);
}

const unitMs: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** From seconds, a span such as 6m0s, or a date; 0 where it is none of them. */
function readWait(text: string | undefined, nowMs: number): number {
  if (text === undefined || text.length > 64) return 0;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  if (/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text))
    return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)].reduce(
      (sum, [, count, unit = 's']) => sum + Number(count) * (unitMs[unit] ?? 0),
      0,
    );
  const date = Date.parse(text);
  return Number.isNaN(date) ? 0 : Math.max(0, date - nowMs);
}
