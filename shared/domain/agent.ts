import type { AgentSpec } from '#shared/contracts/agent.ts';
import type { AgentDraft, AgentEvent, Recorded } from '#shared/contracts/events.ts';
import { Failure } from '#shared/errors.ts';
import { worksOf } from './works.ts';

export const agentStatuses = ['active', 'paused', 'quarantined', 'removed'] as const;

/**
 * An agent's life. `born` is the sequence of the event that began it: one that was removed and is registered anew is another agent of that
 * name. `since` tells, by work, the event that introduced or last changed it: what a run is queued for.
 */
export type Agent = {
  id: string;
  spec: AgentSpec;
  origin: 'file' | 'api';
  status: (typeof agentStatuses)[number];
  since: Readonly<Record<string, { eventId: string; time: string }>>;
  born: number;
  registeredAt: string;
  updatedAt: string;
  /** Sequence of its last event: the expectation of the next append. */
  version: number;
};

export type AgentCommand =
  | { type: 'register'; spec: AgentSpec; origin: Agent['origin'] }
  /** `version`: only if the agent is still at it. */
  | { type: 'update'; spec: AgentSpec; origin: Agent['origin']; version?: number | undefined }
  | { type: 'pause' | 'resume' | 'remove' | 'quarantine'; reason: string };

/** What has happened: folds one event into the agent. */
export function evolve(agent: Agent | undefined, event: Recorded<AgentEvent>): Agent | undefined {
  const version = event.seq;
  switch (event.type) {
    case 'toka.agent.registered.v1':
    case 'toka.agent.updated.v1': {
      const { spec, origin } = event.data;
      const alive = agent && agent.status !== 'removed' ? agent : undefined;
      return {
        id: spec.name,
        spec,
        origin,
        // Whoever changes its definition has looked at what failed.
        status: agent?.status === 'paused' ? 'paused' : 'active',
        since: sinceOf(alive, event, spec),
        born: alive?.born ?? event.seq,
        registeredAt: alive?.registeredAt ?? event.time,
        updatedAt: event.time,
        version,
      };
    }
    case 'toka.agent.paused.v1':
      return agent && { ...agent, status: 'paused', version };
    case 'toka.agent.resumed.v1':
      return agent && { ...agent, status: 'active', version };
    case 'toka.agent.quarantined.v1':
      return agent && { ...agent, status: 'quarantined', version };
    case 'toka.agent.removed.v1':
      return agent && { ...agent, status: 'removed', version };
  }
}

/** A work that stayed the same keeps the event that introduced it; a new or changed one takes this event. */
function sinceOf(kept: Agent | undefined, event: Recorded<AgentEvent>, spec: AgentSpec): Agent['since'] {
  const before = new Map((kept ? worksOf(kept.spec) : []).map((work) => [work.id, JSON.stringify(work)]));
  const here = { eventId: event.id, time: event.time };
  return Object.fromEntries(
    worksOf(spec).map((work) => {
      const same = before.get(work.id) === JSON.stringify(work);
      return [work.id, (same && kept?.since[work.id]) || here];
    }),
  );
}

/** What may happen next: answers a command with events, or throws a Failure. Repeating a command yields none. */
export function decide(agent: Agent | undefined, command: AgentCommand): AgentDraft[] {
  if (command.type === 'register') return register(agent, command);
  if (!agent || agent.status === 'removed') throw new Failure('not-found', 'there is no such agent');
  switch (command.type) {
    case 'update': {
      const { spec, origin, version = agent.version } = command;
      if (version !== agent.version)
        throw new Failure(
          'stale',
          `the agent is at version ${agent.version} and no longer at ${version}; read it again`,
        );
      if (spec.name !== agent.id) {
        throw new Failure('invalid', `name: an agent keeps its name "${agent.id}"; make a new agent instead`, {
          problems: [{ field: 'name', message: `must stay "${agent.id}"` }],
        });
      }
      if (JSON.stringify(spec) === JSON.stringify(agent.spec) && origin === agent.origin) return [];
      return [{ type: 'toka.agent.updated.v1', data: { spec, origin } }];
    }
    case 'pause':
      return agent.status === 'paused' ? [] : [{ type: 'toka.agent.paused.v1', data: { reason: command.reason } }];
    case 'resume':
      return agent.status === 'active' ? [] : [{ type: 'toka.agent.resumed.v1', data: { reason: command.reason } }];
    case 'quarantine':
      return agent.status === 'active' ? [{ type: 'toka.agent.quarantined.v1', data: { reason: command.reason } }] : [];
    case 'remove':
      return [{ type: 'toka.agent.removed.v1', data: { reason: command.reason } }];
  }
}

/** In the same words whoever has it, be it nobody whom the caller may see. */
export const nameTaken = (name: string) =>
  new Failure(
    'conflict',
    `the name "${name}" is taken; choose another one, or replace your agent of that name with PUT`,
  );

function register(
  agent: Agent | undefined,
  { spec, origin }: Extract<AgentCommand, { type: 'register' }>,
): AgentDraft[] {
  if (agent && agent.status !== 'removed') {
    throw nameTaken(agent.id);
  }
  return [{ type: 'toka.agent.registered.v1', data: { spec, origin } }];
}
