import { isIP } from 'node:net';
import type { AgentSpec } from './contracts/agent.ts';
import type { McpServer } from './contracts/mcp.ts';
import type { RepositoryRule } from './contracts/repository.ts';
import { isFor } from './contracts/repository.ts';
import { parseTarget } from './egress/host.ts';
import { createRules, exemptions, exemptionsFor } from './egress/rules.ts';
import type { Located } from './field-problems.ts';
import { branchesAt, isAmong, placeOf } from './repository-rules.ts';

/** What is given to workstreams. `repositories`: undefined where what the file says of them cannot be read. */
export type Places = {
  mcpServers: readonly Pick<McpServer, 'name' | 'workstreams'>[];
  repositories: readonly RepositoryRule[] | undefined;
  /** EGRESS_EXEMPT. */
  exempt?: string | undefined;
};

/**
 * What an agent asks for that is not its workstream's. `isLimited`: whoever writes it down is held to some workstreams, and is given only
 * what is theirs by name; what is others' looks to them like what there is not.
 */
export const placeProblems = (spec: AgentSpec, places: Places, isLimited: boolean): Located[] => [
  ...serverProblems(spec, places, isLimited),
  ...repositoryProblems(spec, places, isLimited),
  ...hostProblems(spec, places),
];

function serverProblems({ capabilities, workstream }: AgentSpec, { mcpServers }: Places, isLimited: boolean) {
  return (['primary', 'secondary'] as const).flatMap((list) =>
    capabilities[list].flatMap((capability, index): Located[] => {
      if (!capability.startsWith('mcp:')) return [];
      const server = mcpServers.find(({ name }) => `mcp:${name}` === capability);
      if (server ? isFor(server.workstreams, workstream) : !isLimited) return [];
      const message = `is not for the workstream ${JSON.stringify(workstream)}: its [[mcp_servers]] in config/agents.toml says in workstreams whose it is`;
      return [{ path: ['capabilities', list, index], message }];
    }),
  );
}

function repositoryProblems(spec: AgentSpec, { repositories }: Places, isLimited: boolean): Located[] {
  const { repository, branch, workstream } = spec;
  if (repository === undefined) return [];
  if (repositories === undefined)
    return [
      {
        path: ['repository'],
        message: "may be somebody else's: [[repositories]] in config/agents.toml cannot be read; mend it first",
      },
    ];
  const branches = branchesAt(repositories, placeOf(repository), workstream);
  if (branches.globs.length === 0 || (isLimited && !branches.isRuled))
    return [
      {
        path: ['repository'],
        message: `is not for the workstream ${JSON.stringify(workstream)}: a [[repositories]] in config/agents.toml says whose it is${isLimited ? ', and has to name the workstreams of a token that is limited to some' : ''}`,
      },
    ];
  if (isAmong(branches, branch)) return [];
  return [
    {
      path: ['branch'],
      message: `is not one of the workstream's in this repository; it takes ${branches.globs.join(', ')}`,
    },
  ];
}

/** A host that leads inside, and that only others may reach so. What a name leads to is looked up when it is reached. */
function hostProblems({ network, workstream }: AgentSpec, { exempt }: Places): Located[] {
  const all = exemptions(exempt).map((entry) => entry.slice(entry.lastIndexOf('=') + 1).trim());
  const own = exemptionsFor(exempt, workstream);
  const isOpen = (list: readonly string[], written: string) =>
    [443, 80].some((port) => {
      const target = parseTarget(written, port);
      if (!target) return false;
      if (isIP(target.host) !== 0) return createRules([], list).accepts(target, target.host);
      return list.some((entry) => entry.toLowerCase() === `${target.host}:${target.port}`);
    });
  return network.allow.flatMap((written, index): Located[] =>
    isOpen(all, written) && !isOpen(own, written)
      ? [
          {
            path: ['network', 'allow', index],
            message: `leads inside, and EGRESS_EXEMPT does not open that to the workstream ${JSON.stringify(workstream)}`,
          },
        ]
      : [],
  );
}
