import type { JetStreamManager, NatsConnection } from 'nats';
import { headers } from 'nats';
import { z } from 'zod';
import type { Priority } from '#shared/contracts/ids.ts';
import { priorities, RunId } from '#shared/contracts/ids.ts';
import { taskSubject, tasksStream, tasksSubjects } from '#shared/contracts/subjects.ts';
import { publishUntil } from './log.ts';
import type { Delivery } from './pull.ts';
import { pull } from './pull.ts';

/** A run that a runner may take now. */
export const Task = z.object({ runId: RunId });
export type Task = z.infer<typeof Task>;

export type Lease = Pick<Delivery, 'ack' | 'nak' | 'working' | 'deliveries'> & { task: Task };

/** The work queue: what the scheduler dispatched and no runner has finished. */
export type Tasks = {
  /** Puts a run on the queue; `dispatchId` (the event's id) keeps a repeated call from doubling it. */
  add(priority: Priority, task: Task, dispatchId: string): Promise<void>;
  /** Takes the most urgent task that waits, if any. */
  take(): Promise<Lease | undefined>;
  /** Runs on the queue, taken or not. */
  queued(): Promise<Set<string>>;
  /** Calls `wake` when a task was added. */
  onAdded(wake: () => void): { unsubscribe(): void };
};

export function openTasks(nc: NatsConnection, jsm: JetStreamManager): Tasks {
  return {
    async add(priority, task, dispatchId) {
      const header = headers();
      header.set('Nats-Msg-Id', dispatchId);
      await publishUntil(nc, taskSubject(priority, task.runId), JSON.stringify(task), header, 30_000);
    },
    async take() {
      for (const priority of priorities) {
        let taken: Delivery | undefined;
        await pull(nc, tasksStream, `runners-${priority}`, { batch: 1, expiresMs: 1_000, noWait: true }, (delivery) => {
          taken = delivery;
        });
        if (taken) {
          const { data, ack, nak, working, deliveries } = taken;
          return { task: Task.parse(JSON.parse(new TextDecoder().decode(data))), ack, nak, working, deliveries };
        }
      }
      return undefined;
    },
    async queued() {
      const info = await jsm.streams.info(tasksStream, { subjects_filter: tasksSubjects });
      return new Set(Object.keys(info.state.subjects ?? {}).map((subject) => subject.split('.').at(-1) ?? ''));
    },
    onAdded(wake) {
      const sub = nc.subscribe(tasksSubjects, { callback: () => wake() });
      return { unsubscribe: () => (nc.isClosed() ? undefined : sub.unsubscribe()) };
    },
  };
}
