import { createRandom } from './random.ts';

/** Every fault that there is, with how long it lasts in milliseconds and, where it has one, how much of it there is. */
const kinds = {
  /** kill -9, and a while until it is started again. */
  kill: { on: 'process', forMs: [200, 3_000] },
  /** SIGSTOP, then SIGCONT. */
  stop: { on: 'process', forMs: [500, 8_000] },
  /** SIGTERM, and started again once it has gone. */
  restart: { on: 'service', forMs: [0, 500] },
  /** All connections end, and new ones are refused. */
  cut: { on: 'link', forMs: [0, 3_000] },
  /** What is sent comes later, in order. */
  slow: { on: 'link', forMs: [2_000, 10_000], amount: [50, 400] },
  /** What is sent is lost without a word; the connections end afterwards, as TCP would have it. */
  drop: { on: 'link', forMs: [1_000, 6_000] },
  /** One answer is lost on its way back: what was asked for has been done. */
  lose: { on: 'link', forMs: [0, 0] },
  /** Not one byte is left. */
  disk: { on: 'disk', forMs: [1_000, 8_000] },
  /** The clock is set ahead or back, by so many milliseconds, and later right again. */
  clock: { on: 'service', forMs: [2_000, 15_000], amount: [-90_000, 90_000] },
} as const satisfies Record<string, Shape>;

type Shape = { on: Target; forMs: readonly [number, number]; amount?: readonly [number, number] };
type Target = 'process' | 'service' | 'link' | 'disk';
export type Kind = keyof typeof kinds;
export const allKinds = Object.keys(kinds) as Kind[];

/** How late something may come that was sent in time. */
export const slowMsMax = kinds.slow.amount[1];

export type Fault = { id: number; atMs: number; kind: Kind; victim: string; forMs: number; amount: number };

/** What may be harmed, by name. Services are processes, too. */
export type Victims = {
  service: readonly string[];
  server: readonly string[];
  link: readonly string[];
  disk: readonly string[];
};

export type PlanOptions = {
  seed: number;
  lengthMs: number;
  /** From one fault to the next, on average. */
  everyMs: number;
  kinds: readonly Kind[];
  victims: Victims;
};

/** Faults that may last at the same time. */
const atOnceMax = 3;
/** A victim is left alone for a moment, so that each fault meets one that works. */
const restMs = 1_500;

/** When what is done to whom: a pure function of the seed. No victim has two faults at a time, and all end before the end. */
export function makePlan({ seed, lengthMs, everyMs, kinds: chosen, victims }: PlanOptions): Fault[] {
  const random = createRandom(seed);
  const plan: Fault[] = [];
  const busyUntil = new Map<string, number>();
  const possible = chosen.filter((kind) => victimsOf(kind, victims).length > 0);
  if (possible.length === 0) return plan;
  for (let atMs = 1_000; ; ) {
    // Of exponential gaps, so that some faults come together and at times there are none.
    atMs += Math.round(Math.max(100, -Math.log(1 - random.next()) * everyMs));
    const kind = random.pick(possible);
    const victim = random.pick(victimsOf(kind, victims));
    const shape: Shape = kinds[kind];
    const forMs = Math.round(random.between(...shape.forMs));
    const amount = shape.amount ? Math.round(random.between(...shape.amount)) : 0;
    if (atMs + forMs > lengthMs) return plan;
    const lasting = plan.filter((fault) => fault.atMs + fault.forMs > atMs).length;
    if (lasting >= atOnceMax || (busyUntil.get(victim) ?? 0) > atMs) continue;
    busyUntil.set(victim, atMs + forMs + restMs);
    plan.push({ id: plan.length + 1, atMs, kind, victim, forMs, amount });
  }
}

function victimsOf(kind: Kind, { service, server, link, disk }: Victims): readonly string[] {
  switch (kinds[kind].on) {
    case 'process':
      return [...service, ...server];
    case 'service':
      return service;
    case 'link':
      return link;
    case 'disk':
      return disk;
  }
}

/** A fault in words. */
export function told({ kind, victim, forMs, amount }: Fault): string {
  const seconds = `${(forMs / 1000).toFixed(1)} s`;
  switch (kind) {
    case 'kill':
      return `kill     ${victim}, away for ${seconds}`;
    case 'stop':
      return `stop     ${victim} for ${seconds}`;
    case 'restart':
      return `restart  ${victim}`;
    case 'cut':
      return `cut      ${victim} for ${seconds}`;
    case 'slow':
      return `slow     ${victim} by ${amount} ms for ${seconds}`;
    case 'drop':
      return `drop     ${victim} for ${seconds}`;
    case 'lose':
      return `lose     ${victim}: its next answer`;
    case 'disk':
      return `disk     ${victim} is full for ${seconds}`;
    case 'clock':
      return `clock    ${victim} by ${(amount / 1000).toFixed(1)} s for ${seconds}`;
  }
}
