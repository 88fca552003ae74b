import Sqlite from 'better-sqlite3';
import { connect } from 'nats';
import { runnerSlots } from '#shared/contracts/scheduling.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startModule } from '../runner/process.ts';
import type { Contender, Shape } from './contender.ts';
import { openServices } from './services.ts';

const writer = { source: '/toka/gateway/bench', actor: 'service:gateway' };
const agents = 20;

/** The log, a store, a scheduler, and runners whose runs do nothing, each a process of its own. */
export async function openToka(program: string, { workers, concurrency }: Shape): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const { url, database, bus, pids } = await openServices(stack, program, workers * 8);
  const told = new Set<string>();
  bus.hear(runnerSlots, ({ instance }) => told.add(instance));
  const runners = await Promise.all(
    Array.from({ length: workers }, (_, index) =>
      startModule('test/bench/scheduler/noop-runner.ts', [url, String(concurrency), `runner-${index}`]),
    ),
  );
  for (const each of runners) stack.use(each);
  const specs = Array.from({ length: agents }, (_, index) =>
    // Its own objective waits for a day that does not come: there are only the runs that the bench asks for.
    agentSpec({ name: `agent-${index}`, schedule: '0 0 30 2 *', limits: { concurrent_runs: 1_000 } }),
  );
  for (const spec of specs)
    await bus.append(
      newEvent({ type: 'toka.agent.registered.v1', data: { spec, origin: 'api' } }, `agent/${spec.name}`, writer),
      0,
    );
  await eventually(() => told.size === workers);
  const on: Contender['on'] = { started: () => undefined, completed: () => undefined };
  const watch = await connect({ servers: url });
  stack.defer(() => watch.close());
  watch.subscribe(entitySubject('run', '*'), {
    callback: (_, { subject, data }) => {
      const head = Buffer.from(data.buffer, data.byteOffset, Math.min(data.byteLength, 300)).toString('latin1');
      const type = /"type":"toka\.run\.([a-z]+)\.v1"/.exec(head)?.[1];
      const id = subject.slice(subject.lastIndexOf('.') + 1);
      if (type === 'started') on.started(id);
      if (type === 'completed') on.completed(id);
    },
  });
  await watch.flush();
  const db = new Sqlite(database, { readonly: true });
  stack.defer(() => void db.close());
  const archived = db.prepare<[], { seq: number }>('SELECT MAX(seq) AS seq FROM events');
  const owned = stack.move();
  let next = 0;
  return {
    async add(id) {
      const spec = specs[next++ % agents];
      const [work] = spec ? worksOf(spec) : [];
      if (!spec || !work) throw new Error('no agent');
      const data = { agentId: spec.name, trigger: 'api' as const, since: id, definition: definitionOf(spec), work };
      const event = newEvent({ type: 'toka.run.queued.v1', data: { ...data, parent: null } }, `run/${id}`, writer);
      return bus.append(event, 0);
    },
    on,
    async settled() {
      const last = await bus.lastSeq();
      await eventually(() => (archived.get()?.seq ?? 0) >= last, 60_000);
    },
    pids: {
      scheduler: [pids.scheduler],
      store: [pids.store],
      runners: runners.map(({ pid }) => pid),
      nats: [pids.nats],
      bench: [process.pid],
    },
    newId: () => newId('run'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
