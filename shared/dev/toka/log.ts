import { each } from '#shared/client/each.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { isRunEvent, parseEvent } from '#shared/contracts/events.ts';
import type { EventView, RunView } from '#shared/contracts/store.ts';
import type { Run } from '#shared/domain/run.ts';
import { evolve, hasEnded } from '#shared/domain/run.ts';
import { Failure } from '#shared/errors.ts';
import { liveLine } from '../launch/live.ts';
import { plain } from '../launch/words.ts';
import type { Shell } from './shell.ts';

/** Says what events mean, one after the other; `run`: the one that they are of, as far as it is known. */
export type Teller = { tell(view: EventView): { line: string; run: Run | undefined } };

const runsMax = 1_000;

export function createTeller(): Teller {
  const runs = new Map<string, Run>();
  return {
    tell(view) {
      const event = known(view);
      if (!event) return { line: plainly(view, undefined), run: undefined };
      const run = isRunEvent(event) ? evolve(runs.get(event.subject), event) : undefined;
      if (runs.size >= runsMax) runs.clear();
      if (run) runs.set(event.subject, run);
      return { line: liveLine(event, run) ?? plainly(view, run), run };
    },
  };
}

/** An event that this version knows; a newer gateway may have more. */
function known({ seq, ...event }: EventView): Recorded | undefined {
  try {
    return { ...parseEvent(event), seq };
  } catch {
    return undefined;
  }
}

/** An event that has no words of its own. */
function plainly({ time, subject, type }: EventView, run: Run | undefined): string {
  const [, entity, what = type] = /^toka\.(\w+)\.([\w-]+)\.v\d+$/.exec(type) ?? [];
  const who = run ? `${run.agentId}/${run.work.id}` : subject.slice(subject.indexOf('/') + 1);
  const said = run ? what : `${entity ?? ''} ${what}`;
  return [plain(String(time ?? '').slice(11, 19)), plain(who, 60), plain(said)].join('  ');
}

/** Shows a run's events, and with `follow` those to come until it ends. */
export async function showLog({ client, output }: Shell, id: string, follow: boolean): Promise<void> {
  const { tell } = createTeller();
  await client.getRun({ id }); // says so where there is none
  const events = follow
    ? client.events({ subject: `run/${id}`, since: 0 }, { lost: lostTo(output.say) })
    : each(client.listRunEvents, { id, limit: 500 });
  for await (const event of events) {
    const { line, run } = tell(event);
    output.next(event, line);
    if (follow && run && hasEnded(run)) return;
  }
}

/** Waits for a run's end, and tells on the way what it is at. */
export async function untilEnd({ client, output }: Shell, { id }: RunView): Promise<RunView> {
  const { tell } = createTeller();
  for await (const event of client.events({ subject: `run/${id}`, since: 0 }, { lost: lostTo(output.say) })) {
    const { line, run } = tell(event);
    output.progress(line);
    if (run && hasEnded(run)) return client.getRun({ id, minSeq: event.seq });
  }
  throw new Failure('unavailable', `the events of ${id} have ended before it did`);
}

export const lostTo = (say: (line: string) => void) => (failure: Failure, waitMs: number) =>
  say(`${failure.message}; trying again in ${Math.ceil(waitMs / 1000)} s`);
