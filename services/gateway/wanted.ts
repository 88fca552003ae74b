import { LRUCache } from 'lru-cache';
import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { fits } from '#shared/contracts/events.ts';
import { createOwners } from './tenancy.ts';

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
  const agentOf = createAgentOf(bus);
  return async (event, { types, agent, workstream }) =>
    (types === undefined || types.some((type) => fits(type, event.type))) &&
    (agent === undefined || (await agentOf(event)) === agent) &&
    (workstream === undefined || (await owners.ofEvent(event, new Set([workstream]))));
}

/** Which agent an event is about: itself, its memory, its runs, its model calls. */
function createAgentOf(bus: Pick<Bus, 'read'>) {
  const runs = new LRUCache<string, string>({ max: runsMax });
  return async (event: Recorded): Promise<string | null> => {
    const [entity, id = ''] = event.subject.split('/');
    if (entity === 'agent' || entity === 'memory') return id;
    if (event.type === 'toka.llm.called.v1') return event.data.agentId;
    if (entity !== 'run') return null;
    const known = event.type === 'toka.run.queued.v1' ? event.data.agentId : runs.get(id);
    const [first] = known === undefined ? await bus.read('run', id, 1, 1) : [];
    const agent = known ?? (first?.type === 'toka.run.queued.v1' ? first.data.agentId : undefined);
    if (agent !== undefined) runs.set(id, agent);
    return agent ?? null;
  };
}
