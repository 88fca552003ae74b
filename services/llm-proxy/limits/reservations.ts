import { setTimeout as delay } from 'node:timers/promises';
import type { Counter, Share } from './counters.ts';
import type { Taking } from './shared-counts.ts';
import { placeOf } from './window.ts';

/** What one call holds of one count. It settles once, and is gone once the ledger has the call. */
export type Reservation = {
  counter: Counter;
  /** The bucket or period in which it was counted. */
  place: number;
  /** What it holds; once it has ended, what it took. */
  amount: number;
  /** Of a period: in which of its counts it is, which began when the ledger was read. */
  epoch: number;
  isOpen: boolean;
};

/**
 * What the calls of this process hold: money and tokens that were counted beforehand. When a budget's count is lost and begins anew with what
 * the ledger says, the calls under way are not in the ledger yet: they are counted on top, each once.
 */
export type Reservations = {
  open(share: Share, taking: Taking, at: number): Reservation;
  /** The call has taken `amount`. `recorded` settles once it is in the ledger. */
  settle(reservation: Reservation, amount: number, recorded: Promise<unknown> | undefined): void;
  /** Of a counter, in whatever place of it: what the calls under way hold. */
  held(id: string): number;
  /** All that is held, by counter. */
  all(): Record<string, number>;
  /** Periods of which something is held. */
  periods(): { counter: Counter; place: number }[];
  /** Of a period: resolves once what has ended is in the ledger, or after a while. */
  recorded(counter: Counter, place: number): Promise<void>;
  /** Of a period: how many have ended so far. */
  ended(counter: Counter, place: number): number;
  /** Of a period: those that are `chosen` are in the count of `epoch` from now on. Answers what they hold. */
  adopt(counter: Counter, place: number, epoch: number, chosen: (reservation: Reservation) => boolean): number;
};

const recordedMsMax = 2_000;
const endedMax = 10_000;

export function createReservations(): Reservations {
  const byId = new Map<string, Set<Reservation>>();
  const recording = new Map<Reservation, Promise<unknown>>();
  const ended = new Map<string, number>();
  const of = ({ id }: Counter, place: number) => [...(byId.get(id) ?? [])].filter((each) => each.place === place);
  const held = (id: string) =>
    [...(byId.get(id) ?? [])].reduce((sum, { isOpen, amount }) => sum + (isOpen ? amount : 0), 0);
  const forget = (reservation: Reservation) => {
    recording.delete(reservation);
    const all = byId.get(reservation.counter.id);
    all?.delete(reservation);
    if (all?.size === 0) byId.delete(reservation.counter.id);
  };
  return {
    open({ counter, amount }, taking, at) {
      const place = placeOf(counter.rule, taking.nowMs);
      const reservation = { counter, place, amount, epoch: taking.epochs?.[at] ?? -1, isOpen: true };
      const all = byId.get(counter.id) ?? new Set();
      byId.set(counter.id, all.add(reservation));
      return reservation;
    },
    settle(reservation, amount, recorded) {
      reservation.isOpen = false;
      reservation.amount = amount;
      if (reservation.counter.rule.kind !== 'usd' || !recorded) return forget(reservation);
      const key = keyOf(reservation);
      if (ended.size > endedMax) ended.clear();
      ended.set(key, (ended.get(key) ?? 0) + 1);
      const over = recorded.catch(() => undefined).then(() => forget(reservation));
      recording.set(reservation, over);
    },
    held,
    all: () => Object.fromEntries([...byId.keys()].map((id) => [id, held(id)])),
    periods() {
      const found = new Map<string, Reservation>();
      for (const all of byId.values())
        for (const each of all) if (each.counter.rule.kind === 'usd') found.set(keyOf(each), each);
      return [...found.values()];
    },
    async recorded(counter, place) {
      const waiting = of(counter, place).flatMap((each) => recording.get(each) ?? []);
      if (waiting.length > 0)
        await Promise.race([Promise.all(waiting), delay(recordedMsMax, undefined, { ref: false })]);
    },
    ended: (counter, place) => ended.get(keyOf({ counter, place })) ?? 0,
    adopt(counter, place, epoch, chosen) {
      let sum = 0;
      for (const each of of(counter, place).filter(chosen)) {
        each.epoch = epoch;
        sum += each.amount;
      }
      return sum;
    },
  };
}

const keyOf = ({ counter: { id }, place }: Pick<Reservation, 'counter' | 'place'>) => `${id} ${place}`;
