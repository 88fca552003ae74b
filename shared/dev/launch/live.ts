import type { Recorded } from '#shared/contracts/events.ts';
import type { ToolCall } from '#shared/contracts/llm.ts';
import type { Run } from '#shared/domain/run.ts';
import { plain } from './words.ts';

/** What an event means to somebody who watches: one line, or nothing. `run`: the run it belongs to, after it. */
export function liveLine(event: Recorded, run: Run | undefined): string | undefined {
  const said = happening(event, run);
  if (said === undefined) return undefined;
  const who = run ? `${run.agentId}/${run.work.id}` : event.subject.slice(event.subject.indexOf('/') + 1);
  return `${event.time.slice(11, 19)}  ${plain(who, 60)}  ${plain(said, 160)}`;
}

function happening(event: Recorded, run: Run | undefined): string | undefined {
  switch (event.type) {
    case 'toka.agent.registered.v1':
      return `registered: ${event.data.spec.objectives.length} objective(s)`;
    case 'toka.agent.updated.v1':
      return 'updated';
    case 'toka.agent.paused.v1':
    case 'toka.agent.resumed.v1':
    case 'toka.agent.removed.v1':
      return `${event.type.split('.')[2]}: ${event.data.reason}`;
    case 'toka.run.queued.v1':
      return `queued: ${event.data.work.description}`;
    case 'toka.run.started.v1':
      return run && run.starts > 1 ? 'goes on where it was' : 'started';
    case 'toka.run.step-completed.v1':
      return 'text' in event.data.answer && event.data.answer.toolCalls.length > 0
        ? event.data.answer.toolCalls.map(call).join(' · ')
        : 'thinks';
    case 'toka.run.deliverable-submitted.v1':
      return `hands in ${event.data.name} (${event.data.artifact.bytes} bytes)`;
    case 'toka.run.validated.v1':
      return event.data.pass ? 'passes its validation' : `is refused: ${event.data.reasons.join(' ')}`;
    case 'toka.run.completed.v1':
      return '✔ completed';
    case 'toka.run.failed.v1':
      return `✘ failed: ${event.data.message}`;
    case 'toka.run.retry-scheduled.v1':
      return `waits to try again: ${event.data.message}`;
    case 'toka.run.cancelled.v1':
      return `cancelled: ${event.data.reason}`;
    default:
      return undefined;
  }
}

const call = ({ tool, args }: ToolCall) => `${tool} ${String(args.path ?? args.pattern ?? '')}`.trim();
