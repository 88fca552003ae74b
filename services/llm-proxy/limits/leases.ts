import type { Share } from './counters.ts';
import type { Taking } from './shared-counts.ts';
import { leaseMs } from './window.ts';

/** Takes `times` as much at once. */
type Take = (times: number) => Promise<Taking>;

/** Permits for calls that were taken several at a time, so that most calls need not ask Redis. */
export type Leases = {
  /** One permit, from those at hand or from `take`. Throws what `take` throws. */
  take(shares: readonly Share[], nowMs: () => number, take: Take): Promise<Taking>;
  drop(): void;
};

type Lease = {
  left: number;
  size: number;
  taking: Taking;
  untilMs: number;
  /** Being taken now, for all who wait. */
  coming: Promise<Taking> | undefined;
};

const limitMin = 1_000;
const sizeMax = 64;
/** Of what is left, that one lease may hold, so that the others find some. */
const partMax = 1 / 16;

/** Only counts of calls alone are leased, and only large ones: what is taken and not used is lost for `leaseMs`. */
export function createLeases(): Leases {
  let leases = new WeakMap<readonly Share[], Lease>();
  const renew = async (lease: Lease, shares: readonly Share[], nowMs: () => number, take: Take): Promise<Taking> => {
    const isUsedUp = lease.left === 0;
    const wanted = isUsedUp ? Math.min(sizeMax, lease.size * 2) : Math.max(1, lease.size - lease.left);
    let size = Math.max(1, Math.min(wanted, roomIn(shares, lease.taking)));
    let taking = await take(size);
    if (taking.blocked && size > 1) {
      size = 1;
      taking = await take(1);
    }
    const left = taking.blocked ? 0 : size;
    Object.assign(lease, { left, size, taking, untilMs: nowMs() + leaseMs });
    return taking;
  };
  return {
    async take(shares, nowMs, take) {
      if (shares.length === 0 || !shares.every(isLarge)) return take(1);
      let lease = leases.get(shares);
      if (!lease) {
        const taking = { nowMs: 0, askedMs: 0, blocked: undefined, waitMs: 0, sums: [] };
        lease = { left: 0, size: 1, taking, untilMs: 0, coming: undefined };
        leases.set(shares, lease);
      }
      const own = lease;
      for (;;) {
        if (own.left > 0 && nowMs() < own.untilMs) {
          own.left--;
          return own.taking;
        }
        own.coming ??= renew(own, shares, nowMs, take).finally(() => {
          own.coming = undefined;
        });
        const taking = await own.coming;
        if (taking.blocked) return taking;
      }
    },
    drop() {
      leases = new WeakMap();
    },
  };
}

const isLarge = ({ counter, limit }: Share) => counter.rule.kind === 'requests' && limit >= limitMin;

const roomIn = (shares: readonly Share[], { sums }: Taking) =>
  Math.min(...shares.map(({ limit }, at) => Math.floor((limit - (sums[at] ?? limit)) * partMax)));
