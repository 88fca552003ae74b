import type { JetStreamManager, NatsConnection } from 'nats';
import { z } from 'zod';
import type { Priority } from '#shared/contracts/ids.ts';
import { RunId } from '#shared/contracts/ids.ts';
import { taskSubject, tasksStream, tasksSubjects } from '#shared/contracts/subjects.ts';
import type { Channel } from './channel.ts';
import { jsonOf } from './json.ts';
import { publishUntil } from './publish.ts';
import type { Delivery } from './pull.ts';
import { pull } from './pull.ts';
import { runnersConsumer } from './streams.ts';

const Sequence = z.number().int().positive();

/**
 * A run that a runner may take now. `dispatch`: the sequence of its dispatch; a later one has a task of its own. `events`: the
 * sequences of all its events, where they are few; the last is its dispatch, and a start is the next one. `trace`: which the run was
 * queued in.
 */
export const Task = z.object({
  runId: RunId,
  dispatch: Sequence.optional(),
  events: z.array(Sequence).min(1).max(8).optional(),
  trace: z.object({ traceparent: z.string(), tracestate: z.string().optional() }).optional(),
});
export type Task = z.infer<typeof Task>;

export type Lease = Pick<Delivery, 'ack' | 'nak' | 'working'> & { task: Task };

/** The work queue: what the scheduler dispatched and no runner has finished. */
export type Tasks = {
  /** Puts a run on the queue; `dispatchId` (the event's id) keeps a repeated call from doubling it. */
  add(priority: Priority, task: Task, dispatchId: string): Promise<void>;
  /** Hands over up to `batch` tasks as they come, until so many have, half a minute is over or `signal` is aborted. */
  take(batch: number, signal: AbortSignal, onLease: (lease: Lease) => void): Promise<void>;
  /** Runs on the queue, taken or not. */
  queued(): Promise<Set<string>>;
};

export function openTasks(nc: NatsConnection, jsm: JetStreamManager): Tasks {
  const idle: Channel[] = [];
  return {
    async add(priority, task, dispatchId) {
      const subject = taskSubject(priority, task.runId);
      const payload = JSON.stringify(task);
      await publishUntil(nc, { stream: tasksStream, subject, payload, id: dispatchId }, 30_000);
    },
    async take(batch, signal, onLease) {
      const options = { batch, expiresMs: 30_000, signal, idle };
      const end = await pull(nc, tasksStream, runnersConsumer, options, (delivery) => {
        const { data, ack, nak, working } = delivery;
        const task = Task.safeParse(jsonOf(data));
        // What is no task never becomes one.
        if (task.success) onLease({ task: task.data, ack, nak, working });
        else ack();
      });
      if (end === 'lost') await new Promise((resolve) => setTimeout(resolve, 100));
    },
    async queued() {
      const info = await jsm.streams.info(tasksStream, { subjects_filter: tasksSubjects });
      return new Set(Object.keys(info.state.subjects ?? {}).map((subject) => subject.split('.').at(-1) ?? ''));
    },
  };
}
