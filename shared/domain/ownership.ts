import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';

/** Something that the log tells of. */
export type Thing = { entity: Entity; id: string };

export function thingOf({ subject }: Pick<TokaEvent, 'subject'>): Thing {
  const [entity = '', id = ''] = subject.split('/');
  return { entity: entity as Entity, id };
}

/**
 * Which of a thing's events say whose it is: its first one, for good, or the last that gives it a workstream. `agent`: it is its agent's. Null:
 * it is nobody's, and shown to none who is limited to workstreams.
 */
export const ownedBy: Readonly<Record<Entity, 'first' | 'last' | 'agent' | null>> = {
  run: 'first',
  decision: null, // such events are about a run
  key: 'first',
  webhook: 'first',
  agent: 'last',
  memory: 'agent',
  token: null,
  llm: null,
  system: null,
};

/** The workstream that an event gives to the thing it is about; null: none; undefined: it says nothing of it. */
export function workstreamGiven(event: TokaEvent): string | null | undefined {
  switch (event.type) {
    case 'toka.run.queued.v1':
      return event.data.definition.workstream;
    case 'toka.agent.registered.v1':
    case 'toka.agent.updated.v1':
      return event.data.spec.workstream;
    case 'toka.key.minted.v1':
    case 'toka.webhook.created.v1':
      return event.data.workstream;
    default:
      return undefined;
  }
}

/** The workstream of a thing by its events, of which the first is enough where that says it; undefined or null: it has none. */
export function workstreamOf({ entity }: Thing, events: readonly Recorded[]): string | null | undefined {
  const given = events.map(workstreamGiven).filter((each) => each !== undefined);
  return ownedBy[entity] === 'first' ? given[0] : given.at(-1);
}

/** Since which sequence a thing is the one that there is: names of agents come again, and an earlier one's events are not the later one's. */
export const since = (events: readonly Recorded[]): number =>
  events.findLast(({ type }) => type === 'toka.agent.registered.v1')?.seq ?? 0;

/** The thing whose owner an event has: a model's call is its run's, else its agent's, else its client key's. */
export function belongsTo(event: TokaEvent): Thing {
  const thing = thingOf(event);
  if (event.type === 'toka.llm.called.v1') {
    const { runId, agentId, key } = event.data;
    if (runId) return { entity: 'run', id: runId };
    return agentId ? { entity: 'agent', id: agentId } : { entity: 'key', id: key };
  }
  return ownedBy[thing.entity] === 'agent' ? { entity: 'agent', id: thing.id } : thing;
}

/** The agent that an event is about, or the run whose agent that is; null: none. */
export function agentOf(event: TokaEvent): Thing | null {
  if (event.type === 'toka.run.queued.v1') return { entity: 'agent', id: event.data.agentId };
  if (event.type === 'toka.llm.called.v1')
    return event.data.agentId === null ? null : { entity: 'agent', id: event.data.agentId };
  const thing = belongsTo(event);
  return thing.entity === 'agent' || thing.entity === 'run' ? thing : null;
}
