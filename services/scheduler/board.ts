import type { Recorded } from '#shared/contracts/events.ts';
import { isAgentEvent, isRunEvent } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import * as agents from '#shared/domain/agent.ts';
import type { Run, RunStatus } from '#shared/domain/run.ts';
import * as runs from '#shared/domain/run.ts';

/** What the scheduler knows: a fold of the log. Of a run that has ended only its status is kept. */
export type Board = {
  agents: Map<string, Agent>;
  active: Map<string, Run>;
  ended: Map<string, RunStatus>;
};

export const emptyBoard = (): Board => ({ agents: new Map(), active: new Map(), ended: new Map() });

/** Folds one event into the board, in place; tells the run that ended by it, if one did. */
export function apply(board: Board, event: Recorded): Run | undefined {
  const id = event.subject.slice(event.subject.indexOf('/') + 1);
  if (isAgentEvent(event)) {
    const agent = agents.evolve(board.agents.get(id), event);
    if (agent) board.agents.set(id, agent);
  } else if (isRunEvent(event) && !board.ended.has(id)) {
    const run = runs.evolve(board.active.get(id), event);
    if (!run) return undefined;
    if (!runs.hasEnded(run)) board.active.set(id, run);
    else {
      board.active.delete(id);
      board.ended.set(id, run.status);
      return run;
    }
  }
  return undefined;
}
