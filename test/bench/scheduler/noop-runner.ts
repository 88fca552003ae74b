import { openBus } from '#shared/bus/bus.ts';
import { runnerSlots } from '#shared/contracts/scheduling.ts';
import { startIntake } from '../../../services/agent-runner/intake.ts';
import { claimJournal } from '../../../services/agent-runner/journal.ts';

// A runner whose runs do nothing: it takes, claims and completes as the real one does.

const [url = '', slots = '', instance = ''] = process.argv.slice(2);
const writer = { source: `/toka/agent-runner/${instance}`, actor: 'service:agent-runner' };
const bus = await openBus({ url, name: 'agent-runner', leaseMs: 30_000, replicas: 1 }, (error) => console.error(error));
const tell = () => bus.tell(runnerSlots, { instance, slots: Number(slots) });
setInterval(tell, 1_000);
tell();
startIntake({
  max: Number(slots),
  stopping: new AbortController().signal,
  take: bus.tasks.take,
  async work({ task, ack }) {
    const start = { type: 'toka.run.started.v1', data: { runner: instance } } as const;
    const journal = await claimJournal(bus, task.runId, writer, start, task);
    await journal?.record({ type: 'toka.run.completed.v1', data: { result: '' } });
    ack();
  },
  changed: () => undefined,
});
process.send?.('ready');
process.once('disconnect', () => process.exit());
