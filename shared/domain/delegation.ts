import type { AgentSpec, Definition, Limits, Work } from '#shared/contracts/agent.ts';
import { allowed, covers } from './capabilities.ts';
import type { RunLimits } from './next-action.ts';
import type { Run } from './run.ts';
import { adHocWork } from './works.ts';

/** How often work is handed on, from the run that nobody delegated to the last. */
export const handedOnMax = 3;

/** The limits that a run's budget for others is a part of. */
type Budget = Pick<RunLimits, 'maxTokens' | 'maxCostUsd'>;

/** Why a run may not hand work to the agent of this name, whose spec this is; undefined: it may. */
export function whyNotTo(run: Run, name: string, spec: Pick<AgentSpec, 'workstream'> | undefined): string | undefined {
  if ((run.parent?.depth ?? 0) >= handedOnMax) return `work is handed on ${handedOnMax} times at most: do it here`;
  if (!mayDelegate(run.definition, name)) return `agent: this agent may not delegate to "${name}"`;
  // Workstreams may be kept apart: who writes an agent in one must not get at those of another by it.
  const { workstream } = run.definition;
  if (spec?.workstream === workstream) return undefined;
  return `agent: there is no active agent "${name}" in the workstream "${workstream}"`;
}

/** Whether an agent whose call was let through may hand work to this one: by what is secondary only where that was what it needed leave for. */
export function mayDelegate({ capabilities }: Pick<Definition, 'capabilities'>, name: string): boolean {
  const atOnce = allowed(capabilities.primary);
  const may = covers(atOnce, 'delegate') ? atOnce : allowed(capabilities.secondary);
  return may.has('delegate') || may.has(`delegate:${name}`);
}

/** What the other agent is given to do. */
export const delegatedWork = ({ work: { priority } }: Pick<Run, 'work'>, task: string): Work =>
  adHocWork('delegated', task, priority);

/** Another agent's definition, with no more capabilities, hosts, limits and budget than the run that asks has itself. */
export function narrowed(child: Definition, run: Run, limits: Budget, share: number): Definition {
  const { definition } = run;
  const mine = {
    primary: allowed(definition.capabilities.primary),
    all: allowed([...definition.capabilities.primary, ...definition.capabilities.secondary]),
  };
  const within = (may: ReadonlySet<string>) => (name: string) => [...allowed([name])].every((each) => may.has(each));
  const network = definition.network.allow;
  return {
    ...child,
    capabilities: {
      primary: child.capabilities.primary.filter(within(mine.primary)),
      secondary: [
        ...child.capabilities.secondary,
        ...child.capabilities.primary.filter((name) => !within(mine.primary)(name)),
      ].filter(within(mine.all)),
    },
    network: { allow: child.network.allow.filter((host) => network.includes(host)) },
    approvals: {
      ...child.approvals,
      required: [...new Set([...child.approvals.required, ...definition.approvals.required])],
    },
    limits: {
      ...child.limits,
      ...smaller(child.limits, definition.limits),
      ...budget(child.limits, run, limits, share),
    },
  };
}

function smaller(own: Limits, other: Limits): Limits {
  const part: Limits = {};
  for (const key of ['max_steps', 'timeout', 'memory', 'cpu'] as const) {
    const most = other[key];
    if (most !== undefined) part[key] = Math.min(own[key] ?? most, most);
  }
  return part;
}

function budget(own: Limits, run: Run, limits: Budget, share: number): Limits {
  const { inputTokens, outputTokens, costUsd } = run.usage;
  const tokens = Math.max(1, Math.floor((limits.maxTokens - inputTokens - outputTokens) * share));
  const part: Limits = { max_tokens: Math.min(own.max_tokens ?? tokens, tokens) };
  if (limits.maxCostUsd !== null) {
    const cost = Math.max(0.000_001, (limits.maxCostUsd - (costUsd ?? limits.maxCostUsd)) * share);
    part.max_cost_usd = Math.min(own.max_cost_usd ?? cost, cost);
  }
  return part;
}
