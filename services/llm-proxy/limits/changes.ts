import type { Share } from './counters.ts';
import { amountOf } from './counters.ts';
import type { Reservation, Reservations } from './reservations.ts';
import type { Rule } from './rule.ts';
import type { Correction, Taking } from './shared-counts.ts';
import { placeOf } from './window.ts';

/** What a call took; `usd` is null where that is not known: then the estimate stands. */
export type Used = { tokens: number; usd: number | null };

/** A call has leave: what it may take is reserved. Answers how to close that, once, with what is to be corrected. */
export function openGrant(
  shares: readonly Share[],
  taking: Taking,
  recorded: Promise<unknown> | undefined,
  reservations: Reservations,
): (used: Used | undefined) => Correction[] | undefined {
  // What only counts calls is what it is.
  const reserved = shares.map((share, at) =>
    share.counter.rule.kind === 'requests' ? undefined : reservations.open(share, taking, at),
  );
  let isOpen = true;
  return (used) => {
    if (!isOpen) return undefined;
    isOpen = false;
    const changes = changesOf(shares, taking, reserved, used);
    for (const [at, reservation] of reserved.entries())
      if (reservation) reservations.settle(reservation, changes[at]?.whole ?? 0, used && recorded);
    return changes;
  };
}

/** By how much what a call took differs from what was counted beforehand; undefined: it took nothing, not even itself. */
const changesOf = (
  shares: readonly Share[],
  taking: Taking,
  reserved: readonly (Reservation | undefined)[],
  used: Used | undefined,
): Correction[] =>
  shares.map(({ counter, amount: counted }, at) => {
    const amount = changeOf(counter.rule, counted, used);
    const { place = placeOf(counter.rule, taking.nowMs), epoch = -1 } = reserved[at] ?? {};
    return { counter, place, amount, whole: counted + amount, epoch };
  });

function changeOf(rule: Rule, counted: number, used: Used | undefined): number {
  if (!used) return -counted;
  if (rule.kind === 'usd' && used.usd === null) return 0;
  return amountOf(rule, used) - counted;
}

/** Of budgets all is told: whether Redis still has what was counted is seen there. */
export const isNews = ({ amount, counter }: Correction) => amount !== 0 || counter.rule.kind === 'usd';
