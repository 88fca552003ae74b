import type { AgentsFile } from '#shared/agents-file.ts';
import type { AgentSpec } from '#shared/contracts/agent.ts';
import type { Agent } from '#shared/domain/agent.ts';

/** What to do so that the agents are as the file says. */
export type RosterChange = { do: 'register' | 'update'; spec: AgentSpec } | { do: 'leave'; id: string; reason: string };

const same = (a: AgentSpec, b: AgentSpec) => JSON.stringify(a) === JSON.stringify(b);

/** Registers what is new, updates what changed, leaves alone what the API made or removed. */
export function rosterChanges(file: AgentsFile, known: ReadonlyMap<string, Agent>): RosterChange[] {
  const changes = file.agents.flatMap((spec): RosterChange[] => {
    const agent = known.get(spec.name);
    if (!agent) return [{ do: 'register', spec }];
    if (agent.status === 'removed') {
      const reason = 'it was removed; change its definition in the file to bring it back';
      return same(agent.spec, spec) ? [{ do: 'leave', id: spec.name, reason }] : [{ do: 'register', spec }];
    }
    if (agent.origin === 'api')
      return [{ do: 'leave', id: spec.name, reason: 'it was made or changed through the API, which keeps it' }];
    return same(agent.spec, spec) ? [] : [{ do: 'update', spec }];
  });
  const inFile = new Set(file.agents.map(({ name }) => name));
  const dropped = [...known.values()].filter(
    ({ id, origin, status }) => origin === 'file' && status !== 'removed' && !inFile.has(id),
  );
  return [
    ...changes,
    ...dropped.map(
      ({ id }): RosterChange => ({
        do: 'leave',
        id,
        reason: `the file does not have it (any more); DELETE /agents/${id} removes it`,
      }),
    ),
  ];
}
