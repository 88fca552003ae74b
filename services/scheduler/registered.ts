import { isDecision } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Known } from '#shared/domain/registered.ts';
import { whyNotRegistered } from '#shared/domain/registered.ts';
import type { Run } from '#shared/domain/run.ts';
import { runIdFor } from '#shared/ids.ts';
import { occasionAt } from '#shared/occasion.ts';
import type { Board, Check } from './board.ts';
import { isTime, workKey } from './board.ts';

/** `since`: the last sequence of a log that is older than this rule. */
export type CheckRules = Pick<Known, 'maxTokens' | 'validation'> & { since: number };

/** No two clocks of schedulers are further apart. */
const aheadMsMax = 86_400_000;

/** What people ask for lies where the gateway alone may write. All else is held to what the log had. */
export const createCheck =
  ({ since, ...rules }: CheckRules): Check =>
  (board, run, event, nowMs) =>
    event.seq <= since || isDecision(event)
      ? undefined
      : whyNotRegistered(run, { ...rules, ...known(board, run, nowMs) });

function known(board: Board, run: Run, nowMs: number): Omit<Known, 'maxTokens' | 'validation'> {
  const agent = board.agents.get(run.agentId);
  const parentId = run.parent?.runId ?? '';
  return {
    agents: agent ? [agent, ...(board.former.get(run.agentId) ?? [])] : [],
    occasionOf: (each) => (isNext(board, run, nowMs) ? occasionOf(each, run) : undefined),
    parent: board.refused.has(parentId) ? undefined : board.active.get(parentId),
    childIdOf: ({ id, queuedAt }) => runIdFor(queuedAt, id, run.parent?.callId ?? ''),
  };
}

function occasionOf(agent: Agent, { work, since }: Run) {
  const occasion = occasionAt(agent, work.id, since);
  return occasion && { id: occasion.runId, trigger: occasion.trigger };
}

/** A work's occasions come once and in order, and none before its time. */
function isNext({ latest }: Board, { agentId, work, since, trigger }: Run, nowMs: number): boolean {
  const before = latest.get(workKey(agentId, work.id));
  if (before?.since === since) return false;
  if (trigger !== 'schedule') return true;
  return !(before && isTime(before) && before.since > since) && Date.parse(since) <= nowMs + aheadMsMax;
}
