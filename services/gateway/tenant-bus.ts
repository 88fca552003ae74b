import type { Context } from 'koa';
import type { Bus } from '#shared/bus/bus.ts';
import type { FollowedEvent } from '#shared/bus/follow.ts';
import type { TokaEvent } from '#shared/contracts/events.ts';
import { filtersOf } from '#shared/contracts/events.ts';
import type { Thing } from '#shared/domain/ownership.ts';
import { thingOf, workstreamGiven } from '#shared/domain/ownership.ts';
import { Failure } from '#shared/errors.ts';
import type { Caller } from './auth.ts';
import type { Denied } from './boundary.ts';
import type { Owners } from './owners.ts';
import { createOwners } from './owners.ts';

/**
 * What a route is given of the bus: these members and no others, each as its caller may see it. A member that somebody adds to the bus is not
 * here until it is written down here, with what it shows to whoever is limited to workstreams.
 */
export type TenantBus = Pick<Bus, 'ask' | 'read' | 'history' | 'append' | 'follow' | 'readEvent' | 'nudge'> & {
  /** Of the whole log: a place in it, which says nothing of what is there. */
  lastSeq(): Promise<number>;
  /** Whether an agent has, or had, this name, whoever may see it: names are everyone's. */
  isTaken(agent: string): Promise<boolean>;
  /** By the digest of its content, which only the events tell that name it. */
  artifacts: Pick<Bus['artifacts'], 'get' | 'has'>;
  /** How far deliveries to a webhook have come. */
  positions: Pick<Bus['positions'], 'get'>;
};

type Parts = Pick<Bus, 'ask' | 'read' | 'first' | 'history' | 'append' | 'follow' | 'readEvent' | 'nudge' | 'lastSeq'> &
  Pick<TenantBus, 'artifacts' | 'positions'>;

/** The bus of a caller: all of the log for one that is not limited; else nothing but what belongs to its workstreams exists. */
export type BusOf = (caller: Pick<Caller, 'workstreams'>, ctx: Context) => TenantBus;

/** `denied` hears of each look at what another workstream has. */
export function createBusOf(bus: Parts, denied: Denied): BusOf {
  const owners = createOwners(bus);
  const all = unlimited(bus);
  return ({ workstreams }, ctx) => {
    if (!workstreams) return all;
    /** The caller is told that it is not there; the log, that it was asked for. */
    const hidden = (what: string) => denied(ctx, forbidden(`${what} is of another workstream`));
    return limited(bus, owners, new Set(workstreams), hidden);
  };
}

const unlimited = (bus: Parts): TenantBus => ({
  ask: bus.ask,
  read: bus.read,
  history: bus.history,
  append: bus.append,
  follow: bus.follow,
  readEvent: bus.readEvent,
  nudge: bus.nudge,
  lastSeq: () => bus.lastSeq(),
  isTaken: isTaken(bus),
  artifacts: { get: (ref) => bus.artifacts.get(ref), has: (ref) => bus.artifacts.has(ref) },
  positions: { get: (name) => bus.positions.get(name) },
});

const isTaken = (bus: Parts) => (agent: string) => isThere(bus, { entity: 'agent', id: agent });

/** Whether anything of a thing is in the log, or has been: of a run, also what people said of it. */
async function isThere(bus: Pick<Bus, 'lastSeq' | 'first'>, { entity, id }: Thing): Promise<boolean> {
  const found = await Promise.all(filtersOf(`${entity}/${id}`).map((subject) => bus.lastSeq(subject)));
  return found.some((seq) => seq > 0) || (await bus.first(entity, id)) !== undefined;
}

const queries = 'toka.store.query.';

function limited(bus: Parts, owners: Owners, allowed: ReadonlySet<string>, hidden: (what: string) => void): TenantBus {
  return {
    async ask(contract, input, options) {
      if (!contract.subject.startsWith(queries)) throw forbidden('this is about all workstreams together');
      const asked = { ...(input as object), workstreams: [...allowed] } as typeof input;
      return bus.ask(contract, asked, options).catch((error) => {
        if (error instanceof Failure && error.code === 'not-found')
          bus.ask(contract, input, options).then(
            () => hidden(`${contract.subject} ${(input as { id?: string }).id ?? ''}`),
            () => undefined,
          );
        throw error;
      });
    },
    async read(entity, id, from, until) {
      if (await owners.has(allowed, { entity, id })) return bus.read(entity, id, from, until);
      if (await isThere(bus, { entity, id })) hidden(`${entity}/${id}`);
      return [];
    },
    async history(entity, id, part) {
      if (await owners.has(allowed, { entity, id })) return bus.history(entity, id, part);
      if (await isThere(bus, { entity, id })) hidden(`${entity}/${id}`);
      // An append next to what is not there for them is refused: something else is the last.
      return { events: [], last: 0, lastDecision: 0 };
    },
    async append(event, expected, deadlineMs) {
      await checkAppend(bus, owners, event, allowed);
      return bus.append(event, expected, deadlineMs);
    },
    follow: (options) => only(bus, bus.follow(options), owners, allowed),
    readEvent: bus.readEvent,
    // A runner that is nudged looks at the log, where nothing is that this caller may not have written.
    nudge: bus.nudge,
    lastSeq: () => bus.lastSeq(),
    isTaken: isTaken(bus),
    artifacts: { get: (ref) => bus.artifacts.get(ref), has: (ref) => bus.artifacts.has(ref) },
    positions: {
      get: async (id) => ((await owners.has(allowed, { entity: 'webhook', id })) ? bus.positions.get(id) : undefined),
    },
  };
}

const forbidden = (reason: string) =>
  new Failure('forbidden', `${reason}, and the token is limited to some workstreams`);

/**
 * What begins something says whose it is to be, and begins it where nothing of others has been, whatever its writer expects there; all else must
 * belong to something that is the caller's.
 */
async function checkAppend(
  bus: Pick<Bus, 'lastSeq' | 'first'>,
  owners: Owners,
  event: TokaEvent,
  allowed: ReadonlySet<string>,
): Promise<void> {
  const begun = workstreamGiven(event);
  if (begun !== undefined && !(begun !== null && allowed.has(begun)))
    throw forbidden(`nothing may be made in the workstream ${JSON.stringify(begun)}`);
  const thing = thingOf(event);
  if (await owners.has(allowed, thing)) return;
  const begins = begun !== undefined && event.type !== 'toka.agent.updated.v1';
  if (!begins) throw forbidden(`${event.subject} is not the caller's`);
  if (await isThere(bus, thing)) throw new Failure('conflict', `${event.subject} is taken`);
}

/** The events that belong to these workstreams, in order. */
async function* only(bus: Parts, events: AsyncGenerator<FollowedEvent>, owners: Owners, allowed: ReadonlySet<string>) {
  for await (const raw of events) {
    const event = bus.readEvent(raw);
    if (event && (await owners.ofEvent(event, allowed))) yield raw;
  }
}
