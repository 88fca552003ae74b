import type { Log } from '#shared/command.ts';
import { foldRun } from '#shared/command.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { notRegistered } from '#shared/domain/registered.ts';
import type { Run } from '#shared/domain/run.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';

/**
 * Queues a run under this id, once: whoever asks twice finds what was asked for first. What the scheduler queues lies on another subject, so
 * where it may ask for the same run, that is looked up by the caller before; where both ask at the same moment, the first in the log counts.
 */
export async function queueRun(
  bus: Log,
  id: string,
  data: DataOf<'toka.run.queued.v1'>,
  writer: Writer,
): Promise<{ run: Run; isNew: boolean }> {
  const event = newEvent({ type: 'toka.run.queued.v1', data }, `run/${id}`, writer, { correlationid: id });
  await bus.append(event, 0).catch((error) => {
    if (!(error instanceof Failure && error.code === 'conflict')) throw error;
  });
  const { events } = await bus.history('run', id);
  const run = foldRun(events);
  if (!run) throw new Failure('internal', `run ${id} was queued and cannot be read`);
  return { run, isNew: events.find(({ type }) => type === event.type)?.id === event.id };
}

/** Throws `conflict` for a run that was ended because nobody had asked for it: what it holds is no person's to go on from unawares. */
export function checkRegistered({ error }: Run): void {
  if (error?.code === notRegistered)
    throw new Failure('conflict', 'the run was ended because nobody had registered what it was to do');
}
