import { LRUCache } from 'lru-cache';
import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { fits } from '#shared/contracts/events.ts';
import { agentOf } from '#shared/domain/ownership.ts';
import { createOwners } from './owners.ts';

/** What of the log somebody wants; what is not given does not count. */
export type Filter = {
  /** Types, or beginnings of types and `*`; any of them. */
  types?: readonly string[] | undefined;
  agent?: string | undefined;
  workstream?: string | undefined;
};

const runsMax = 10_000;

/** Whether an event is one that a filter wants: its own type, and whose it is, as the log says. */
export type Wanted = (event: Recorded, filter: Filter) => Promise<boolean>;

export function createWanted(bus: Pick<Bus, 'read'>): Wanted {
  const owners = createOwners(bus);
  const findAgent = createFindAgent(bus);
  return async (event, { types, agent, workstream }) =>
    (types === undefined || types.some((type) => fits(type, event.type))) &&
    (agent === undefined || (await findAgent(event)) === agent) &&
    (workstream === undefined || (await owners.ofEvent(event, new Set([workstream]))));
}

/** Which agent an event is about: itself, its memory, its runs, its model calls. */
function createFindAgent(bus: Pick<Bus, 'read'>) {
  const runs = new LRUCache<string, string>({ max: runsMax });
  return async (event: Recorded): Promise<string | null> => {
    const about = agentOf(event);
    if (about?.entity !== 'run') return about?.id ?? null;
    if (!runs.has(about.id)) {
      // The first on each of its subjects: it was queued on one of them.
      const agents = (await bus.read('run', about.id, 1, 1)).map(agentOf);
      const agent = agents.find((each) => each?.entity === 'agent');
      if (agent) runs.set(about.id, agent.id);
    }
    return runs.get(about.id) ?? null;
  };
}
