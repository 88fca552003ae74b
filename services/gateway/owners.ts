import { LRUCache } from 'lru-cache';
import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import type { Thing } from '#shared/domain/ownership.ts';
import { belongsTo, ownedBy, since, workstreamGiven, workstreamOf } from '#shared/domain/ownership.ts';

const thingsMax = 10_000;
const agentMsMax = 2_000;

/** `since`: what came before that sequence was of another that had the same name. */
type Owned = { owner: string; since: number };

/** Whose things and events are, as the log has it. */
export type Owners = {
  /** Whether a thing is of one of these workstreams, as of now. */
  has(allowed: ReadonlySet<string>, thing: Thing): Promise<boolean>;
  ofEvent(event: Recorded, allowed: ReadonlySet<string>): Promise<boolean>;
};

const firstOf = async (bus: Pick<Bus, 'first'>, { entity, id }: Thing): Promise<Recorded[]> => {
  const first = await bus.first(entity, id);
  return first ? [first] : [];
};

/** What says once whose it is never changes hands; an agent may, and is looked up anew. */
export function createOwners(bus: Pick<Bus, 'read' | 'first'>): Owners {
  const settled = new LRUCache<string, Owned>({ max: thingsMax });
  const agents = new LRUCache<string, Owned>({ max: thingsMax, ttl: agentMsMax });
  const find = async ({ entity, id }: Thing): Promise<Owned | undefined> => {
    const by = ownedBy[entity];
    if (by === null) return undefined;
    if (by === 'agent') return find({ entity: 'agent', id });
    const known = by === 'first' ? settled : agents;
    const name = `${entity}/${id}`;
    if (!known.has(name)) {
      const events = by === 'first' ? await firstOf(bus, { entity, id }) : await bus.read(entity, id);
      const owner = workstreamOf({ entity, id }, events);
      if (owner) known.set(name, { owner, since: since(events) });
    }
    return known.get(name);
  };
  return {
    async has(allowed, thing) {
      agents.delete(`${thing.entity}/${thing.id}`);
      const owned = await find(thing);
      return owned !== undefined && allowed.has(owned.owner);
    },
    async ofEvent(event, allowed) {
      // It changes hands here, perhaps.
      if (workstreamGiven(event) !== undefined) agents.delete(event.subject);
      const owned = await find(belongsTo(event));
      return owned !== undefined && allowed.has(owned.owner) && event.seq >= owned.since;
    },
  };
}
