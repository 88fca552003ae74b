import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { logBucket, logStateKey, logStateSubject } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { jsonOf } from './json.ts';
import type { Registers } from './registers.ts';
import { openRegisters } from './registers.ts';

/** What a store found when it compared the log with its archive. */
export const Verdict = z.object({
  /** The start of nats-server that it holds for: see `placeOf`. */
  place: z.string(),
  state: z.enum(['ok', 'refused']),
  /** What differs, and what to do; empty where nothing does. */
  reason: z.string(),
  /** Whose archive it was. */
  archive: z.string(),
  time: z.string(),
});
export type Verdict = z.infer<typeof Verdict>;

type Server = { server_id: string; cluster?: string };

/**
 * What a verdict is about. A server on its own has a new id at each start, and may have lost what it had not yet written to the disk. What a
 * cluster has acknowledged lies with several: it outlives the start of one, so a verdict is about the cluster, and each start of a store
 * brings a new one.
 */
export const placeOf = ({ server_id, cluster }: Server): string =>
  cluster ? `cluster ${cluster}` : `server ${server_id}`;

/** `isFinal`: waiting alone will not change it. */
type Standing = { isOpen: true } | { isOpen: false; isFinal: boolean; reason: string };

/** Whether who is connected to `place` may append; undefined: to none. */
export function standingOf(verdict: Verdict | undefined, place: string | undefined): Standing {
  if (place === undefined) return { isOpen: false, isFinal: false, reason: 'NATS is away' };
  if (verdict?.place !== place)
    return {
      isOpen: false,
      isFinal: false,
      reason: 'no store has compared the log with its archive since nats-server was started: is the store running?',
    };
  if (verdict.state === 'refused')
    return { isOpen: false, isFinal: true, reason: `nothing is written to the log: ${verdict.reason}` };
  return { isOpen: true };
}

/** Between writers and the log: closed from each start of nats-server until a store has found that nothing is missing. */
export type Gate = {
  /** Resolves once events may be appended. Throws `unavailable` with the reason, at `untilMs` (of performance.now) at the latest. */
  pass(untilMs: number): Promise<void>;
  /** `ok`, or what keeps events from being appended. */
  state(): Promise<string>;
  /** Where this connection is; undefined while it is none. */
  place(): string | undefined;
  /** The newest verdict, whatever it is about. */
  verdict(): Promise<Verdict | undefined>;
  /** Gives one. Only the store may, and who may all. */
  give(verdict: Verdict): Promise<void>;
};

const againMs = 100;
const retryAfterMs = 5_000;
/** Longer than a store needs to come back with the rest after a power cut, unless its archive is very large. */
const verdictMsMax = 15_000;

export function createGate(nc: NatsConnection): Gate {
  const kept = openRegisters(nc, logBucket);
  let known: Verdict | undefined;
  let looking: Promise<void> | undefined;
  const place = () => (nc.info ? placeOf(nc.info) : undefined);
  const here = () => standingOf(known, place());
  const look = () => {
    looking ??= readVerdict(kept)
      .then((verdict) => {
        known = verdict;
      })
      .finally(() => {
        looking = undefined;
      });
    return looking;
  };
  // Those who are connected hear of it at once; who was away looks for it.
  nc.subscribe(logStateSubject, {
    callback(error, { data }) {
      if (!error) known = Verdict.safeParse(jsonOf(data)).data ?? known;
    },
  });
  void (async () => {
    for await (const { type } of nc.status()) if (type === 'disconnect') known = undefined;
  })();
  return {
    async pass(untilMs) {
      for (let closedSinceMs: number | undefined; ; ) {
        const { isOpen } = here();
        if (isOpen) return;
        await look().catch(() => undefined);
        const found = here();
        if (found.isOpen) return;
        const now = performance.now();
        if (place() !== undefined) closedSinceMs ??= now;
        const isLate = now >= untilMs || (closedSinceMs !== undefined && now - closedSinceMs > verdictMsMax);
        if (found.isFinal || isLate || nc.isClosed()) throw new Failure('unavailable', found.reason, { retryAfterMs });
        await delay(againMs);
      }
    },
    async state() {
      if (!here().isOpen) await look().catch(() => undefined);
      const found = here();
      return found.isOpen ? 'ok' : found.reason;
    },
    place,
    verdict: () => readVerdict(kept),
    give: async (verdict) => void (await kept.write(logStateKey, JSON.stringify(verdict))),
  };
}

async function readVerdict(kept: Registers): Promise<Verdict | undefined> {
  const found = await kept.read(logStateKey);
  // What is no verdict is none: then the store gives it anew.
  return found && Verdict.safeParse(jsonOf(Buffer.from(found.text))).data;
}
