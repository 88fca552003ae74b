import type { DataOf, Recorded } from '#shared/contracts/events.ts';
import { isAgentEvent, isRunEvent } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import * as agents from '#shared/domain/agent.ts';
import type { Run, RunStatus } from '#shared/domain/run.ts';
import * as runs from '#shared/domain/run.ts';
import { clip } from '#shared/text.ts';

/** What the scheduler knows: a fold of the log. Of a run that has ended only its status is kept. */
export type Board = {
  agents: Map<string, Agent>;
  active: Map<string, Run>;
  ended: Map<string, RunStatus>;
  /** What came of runs that other runs asked for, until those have been told. */
  endedChildren: Map<string, DataOf<'toka.run.child-ended.v1'>>;
};

export const emptyBoard = (): Board => ({
  agents: new Map(),
  active: new Map(),
  ended: new Map(),
  endedChildren: new Map(),
});

/** Folds one event into the board, in place; tells the run that ended by it, if one did. */
export function apply(board: Board, event: Recorded): Run | undefined {
  const id = event.subject.slice(event.subject.indexOf('/') + 1);
  if (isAgentEvent(event)) {
    const agent = agents.evolve(board.agents.get(id), event);
    if (agent) board.agents.set(id, agent);
  } else if (isRunEvent(event) && !board.ended.has(id)) {
    const run = runs.evolve(board.active.get(id), event);
    if (!run) return undefined;
    if (event.type === 'toka.run.child-ended.v1') board.endedChildren.delete(event.data.runId);
    if (!runs.hasEnded(run)) board.active.set(id, run);
    else {
      board.active.delete(id);
      board.ended.set(id, run.status);
      for (const child of run.children) board.endedChildren.delete(child.runId);
      if (run.parent && board.active.has(run.parent.runId))
        board.endedChildren.set(id, childEnded(run, run.parent.callId));
      return run;
    }
  }
  return undefined;
}

const resultCharsMax = 20_000;

/** What the run that asked for this one is told. */
function childEnded(run: Run, callId: string): DataOf<'toka.run.child-ended.v1'> {
  const status = run.status === 'completed' || run.status === 'cancelled' ? run.status : 'failed';
  const result = (status === 'completed' ? run.result : run.error?.message) ?? '';
  return { callId, runId: run.id, status, result: clip(result, resultCharsMax), usage: run.usage };
}
