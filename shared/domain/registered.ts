import type { Definition } from '#shared/contracts/agent.ts';
import type { Agent } from './agent.ts';
import { delegatedWork, narrowed, whyNotTo } from './delegation.ts';
import type { Validation } from './grants.ts';
import { leaveFor } from './grants.ts';
import type { Run } from './run.ts';
import { hasEnded } from './run.ts';
import { isSame } from './same.ts';
import { definitionOf, worksOf } from './works.ts';

/** The code of a run's end that asked for what nobody has registered. */
export const notRegistered = 'not-registered';

/**
 * What the log had when a run was queued. `agents`: the run's agent as it was, and as it was before its last changes, which whoever queued the
 * run may not have seen yet, the newest first. `occasionOf`: the run that is to be queued for a work of an agent, at the occasion that this run says; undefined:
 * there is no such occasion.
 */
export type Known = {
  agents: readonly Agent[];
  occasionOf(agent: Agent): Pick<Run, 'id' | 'trigger'> | undefined;
  parent: Run | undefined;
  /** The id of the run that the parent's call asks for. */
  childIdOf(parent: Run): string;
  /** What runners hold a run to that delegates. */
  maxTokens: number;
  validation: Validation;
};

/**
 * Why a run that no person asked for is not to be carried out: a runner, which may write that a run is queued, must not make up what it is to
 * do. It is what was registered for its agent, or what the run that asks may hand on of that. Undefined: it is.
 */
export function whyNotRegistered(run: Run, known: Known): string | undefined {
  if (known.agents.length === 0) return `there is no agent "${run.agentId}"`;
  if (run.retryOf !== null || run.forkOf !== null || run.runAt !== null)
    return 'it is said to be done again, to go on from another or to begin later, which people alone may ask for';
  switch (run.trigger) {
    case 'api':
      return 'it is said to be asked for by a person';
    case 'objective':
    case 'schedule':
      return first(known.agents.map((agent) => whyNotByItself(run, agent, known)));
    case 'delegate':
      return whyNotDelegated(run, known);
  }
}

/** Undefined if any of them fits, else why the newest does not. */
const first = (reasons: readonly (string | undefined)[]): string | undefined =>
  reasons.includes(undefined) ? undefined : reasons[0];

function whyNotByItself(run: Run, agent: Agent, { occasionOf }: Known): string | undefined {
  if (run.parent !== null) return 'it has a parent, and is said to be due by itself';
  const occasion = occasionOf(agent);
  if (occasion?.id !== run.id || occasion.trigger !== run.trigger)
    return 'no work of its agent is due at that occasion';
  if (!worksOf(agent.spec).some((work) => isSame(work, run.work))) return 'its work is none of its agent';
  return isSame(definitionOf(agent.spec), run.definition) ? undefined : "its definition is not its agent's";
}

function whyNotDelegated(run: Run, known: Known): string | undefined {
  const { parent, childIdOf, validation } = known;
  if (!parent || hasEnded(parent)) return 'the run that is said to have asked for it is not under way';
  const callId = run.parent?.callId ?? '';
  const [call] = parent.pending;
  const isAsked = call?.callId === callId && run.since === callId && run.id === childIdOf(parent);
  if (!isAsked || parent.children.some((child) => child.callId === callId))
    return 'the run that is said to have asked for it is not at that call';
  const leave = leaveFor(parent, callId, { name: 'delegate', needs: 'delegate' }, validation);
  if (leave.may !== 'yes' && !(leave.may === 'missing' && leave.anyway))
    return 'the run that is said to have asked for it has no leave to';
  if (run.parent?.depth !== (parent.parent?.depth ?? 0) + 1) return 'it is not as deep as it says';
  if (!isSame(run.work, delegatedWork(parent, run.work.description))) return 'its work is not one that is handed on';
  return first(known.agents.map((agent) => whyNotHandedOn(run, parent, agent, known)));
}

function whyNotHandedOn(run: Run, parent: Run, { id, spec }: Agent, { maxTokens }: Known): string | undefined {
  const why = whyNotTo(parent, id, spec);
  if (why !== undefined) return why;
  const { limits } = parent.definition;
  const budget = { maxTokens: limits.max_tokens ?? maxTokens, maxCostUsd: limits.max_cost_usd ?? null };
  const widest = narrowed(definitionOf(spec), parent, budget, 1);
  if (!isSame(unbudgeted(widest), unbudgeted(run.definition)))
    return "its definition is not what its agent's is within that of the run that asked for it";
  const { max_tokens: tokens, max_cost_usd: cost } = run.definition.limits;
  const isWithin = (mine: number | undefined, most: number | undefined) =>
    most === undefined || (mine !== undefined && mine <= most);
  return isWithin(tokens, widest.limits.max_tokens) && isWithin(cost, widest.limits.max_cost_usd)
    ? undefined
    : 'it may spend more than is left to the run that asked for it';
}

/** Without the part that the model chose of what is left. */
function unbudgeted({ limits: { max_tokens, max_cost_usd, ...limits }, ...definition }: Definition) {
  return { ...definition, limits };
}
