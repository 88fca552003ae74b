import type { Fork } from '#shared/contracts/events.ts';
import type { Run } from './run.ts';

/**
 * What a fork of a run begins with. Where it was refused, or a person has something to say, what was handed in counts no more;
 * what people were asked and other runs were asked for is asked anew.
 */
export function forkOf(run: Run, message: string | undefined): Fork {
  const { pending, workspace, verdict, deliverable, contextTokens, compactions, lastText } = run;
  const isOpen = message !== undefined || verdict?.pass === false;
  return {
    ...{ runId: run.id, at: run.version },
    ...(message === undefined ? {} : { message }),
    state: {
      pending: pending.map(({ callId, tool }) => ({ callId, tool })),
      workspace: workspace && { base: workspace.base, snapshots: [...workspace.snapshots] },
      deliverable: isOpen ? null : deliverable,
      ...{ contextTokens, compactions, lastText },
    },
  };
}
