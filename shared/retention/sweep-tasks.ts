import { runnersConsumer } from '#shared/bus/streams.ts';
import type { openTasks } from '#shared/bus/tasks.ts';
import { tasksStream } from '#shared/contracts/subjects.ts';

/** JetStream's manager. */
type Admin = Parameters<typeof openTasks>[1];

/** At a time; what is left is for the next sweep. */
const removedMax = 1_000;

/**
 * Removes tasks from the queue that are acknowledged and there all the same: after a kill -9 nats-server 2.9.10 has the acknowledgements that
 * the runners' consumer wrote down, and once more the messages that the stream had removed for them, which are never delivered and never
 * removed (findings/nats-acknowledged-work-comes-back.sh; not seen with 2.15.1). A run of which one is left seems to be on the queue, so that
 * the scheduler's mend-queue.ts would give it no task if its next one were lost.
 *
 * `jsm` is that of the admin's user, who alone may remove messages. Answers how many were removed. Throws what NATS answers.
 */
export async function sweepTasks(jsm: Admin): Promise<number> {
  // All up to its floor is acknowledged. A task that comes back, or a run's next one, lies above: the floor waits for the one, and the other
  // has a sequence of its own.
  const { ack_floor: floor } = await jsm.consumers.info(tasksStream, runnersConsumer);
  for (let removed = 0; ; removed++) {
    const { state } = await jsm.streams.info(tasksStream);
    if (removed === removedMax || state.messages === 0 || state.first_seq > floor.stream_seq) return removed;
    // One by one: 2.9.10 takes a purge up to a sequence for one of what was delivered above it, too, which then never comes back
    // (findings/nats-purge-forgets-deliveries.sh).
    await jsm.streams.deleteMessage(tasksStream, state.first_seq, false);
  }
}
