import type { Log } from '#shared/command.ts';
import { foldRun } from '#shared/command.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import type { Run } from '#shared/domain/run.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';

/** Queues a run under this id, once: whoever asks twice finds what was asked for first. */
export async function queueRun(
  bus: Log,
  id: string,
  data: DataOf<'toka.run.queued.v1'>,
  writer: Writer,
): Promise<{ run: Run; isNew: boolean }> {
  const event = newEvent({ type: 'toka.run.queued.v1', data }, `run/${id}`, writer, { correlationid: id });
  const isNew = await bus.append(event, 0).then(
    () => true,
    (error) => {
      if (error instanceof Failure && error.code === 'conflict') return false;
      throw error;
    },
  );
  const run = foldRun((await bus.history('run', id)).events);
  if (!run) throw new Failure('internal', `run ${id} was queued and cannot be read`);
  return { run, isNew };
}
