import { connect } from 'nats';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import type { RunDraft } from '#shared/contracts/events.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { definitionOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { openGate } from '#test/helpers/open-gate.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Batch, Contender, Measured } from './batch.ts';
import { atATime } from './batch.ts';
import { countCpu } from './cpu.ts';
import { startNats } from './nats.ts';
import { startModule } from './process.ts';

const writer = { source: '/toka/bench/1', actor: 'service:bench' };
const agents = 50;
const runMsMax = 45_000;

export type TokaOptions = {
  nats: string;
  synced: boolean;
  runners: number;
  atOnce: number;
  /** What the model calls; undefined: what needs no sandbox. */
  tool?: string | undefined;
};

export type Toka = Contender & {
  /** Bytes on the log of one run of so many turns. */
  bytesOf(turns: number): Promise<number>;
};

/** Runners on a nats-server of their own, a model without latency, and nothing else: the scheduler's part is done by the bench. */
export async function openToka({ nats: program, synced, runners, atOnce, tool = '' }: TokaOptions): Promise<Toka> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const nats = stack.use(await startNats(program, synced));
  const bus = stack.use(
    await openBus({ url: nats.url, name: 'bench', leaseMs: 30_000, replicas: 1 }, (error) => console.error(error)),
  );
  await openGate(bus); // there is no store
  const model = stack.use(await startModule('test/bench/runner/model.ts', [nats.url, tool]));
  const env = {
    NATS_URL: nats.url,
    CONFIG_FILE: 'none',
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
    MAX_CONCURRENT_AGENTS: String(Math.ceil(atOnce / runners)),
    AGENT_MAX_STEPS: '1000',
    DELIVERABLES_DIR: `${folder}/deliverables`,
    REPOSITORY_ROOTS: folder,
  };
  const opened = await Promise.all(
    Array.from({ length: runners }, (_, index) =>
      startModule('services/agent-runner/main.ts', [], { ...env, WORKSPACE_DIR: `${folder}/workspaces-${index}` }),
    ),
  );
  for (const each of opened) stack.use(each);
  const ends = stack.use(await watchRuns(nats.url, bus));
  const kinds = { runners: opened.map(({ pid }) => pid), nats: [nats.pid], model: [model.pid], bench: [process.pid] };

  const owned = stack.move();
  return {
    async measure(batch) {
      const runs = await queueRuns(bus, batch);
      const before = await bus.lastSeq();
      const used = await countCpu(kinds);
      const startedMs = performance.now();
      await atATime(batch.atOnce, runs.length, async (index) => {
        const runId = runs[index] ?? '';
        const ended = ends.of(runId);
        await bus.tasks.add('high', { runId }, newId('evt'));
        const { turns } = await ended;
        if (turns !== batch.turns) throw new Error(`${runId} took ${turns} turns instead of ${batch.turns}`);
      });
      const seconds = (performance.now() - startedMs) / 1000;
      const cpuMs = await used();
      // The last ends are on the log once their tasks are off the queue.
      await eventually(async () => (await bus.tasks.queued()).size === 0);
      const records = (await bus.lastSeq()) - before;
      return { seconds, runs: runs.length, turns: runs.length * batch.turns, records, cpuMs } satisfies Measured;
    },
    async bytesOf(turns) {
      const [runId = ''] = await queueRuns(bus, { runs: 1, turns, atOnce: 1 });
      const ended = ends.of(runId);
      await bus.tasks.add('high', { runId }, newId('evt'));
      await ended;
      return (await bus.read('run', runId)).reduce((sum, { seq, ...event }) => sum + JSON.stringify(event).length, 0);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Puts runs on the log as the scheduler leaves them: queued and dispatched. */
async function queueRuns(bus: Bus, { runs, turns, atOnce }: Batch): Promise<string[]> {
  const ids = Array.from({ length: runs }, () => newId('run'));
  await atATime(atOnce, runs, async (index) => {
    const runId = ids[index] ?? '';
    const spec = agentSpec({
      name: `agent-${index % agents}`,
      capabilities: { primary: ['filesystem-read', 'memory'], secondary: [] },
    });
    const drafts: RunDraft[] = [
      {
        type: 'toka.run.queued.v1',
        data: {
          agentId: spec.name,
          trigger: 'api',
          since: newId('evt'),
          definition: definitionOf(spec),
          work: {
            id: 'ad-hoc',
            kind: 'ad-hoc',
            description: `Look around. turns=${turns}`,
            deliverable: null,
            validation: null,
            validationCommand: null,
            dependsOn: [],
            dependsOnAgents: [],
            priority: 'high',
          },
          parent: null,
        },
      },
      { type: 'toka.run.dispatched.v1', data: { reason: 'bench' } },
    ];
    for (const draft of drafts) await bus.append(newEvent(draft, `run/${runId}`, writer, { correlationid: runId }));
  });
  return ids;
}

type Ended = { turns: number };
type Watched = { turns: number; resolve(ended: Ended): void; reject(error: Error): void };

/** Hears of each run's end, and counts its turns, without parsing what the runners write. */
async function watchRuns(url: string, bus: Bus): Promise<{ of(runId: string): Promise<Ended> } & AsyncDisposable> {
  const nc = await connect({ servers: url });
  const watched = new Map<string, Watched>();
  nc.subscribe(entitySubject('run', '*'), {
    callback: (_, { subject, data }) => {
      const run = watched.get(subject);
      if (!run) return;
      const head = Buffer.from(data.buffer, data.byteOffset, Math.min(data.byteLength, 400)).toString('latin1');
      const type = /"type":"toka\.run\.([a-z-]+)\.v1"/.exec(head)?.[1];
      if (type === 'step-completed') run.turns += 1;
      if (type === 'completed') run.resolve(run);
      if (type === 'failed' || type === 'retry-scheduled') run.reject(new Error(Buffer.from(data).toString()));
    },
  });
  await nc.flush();
  return {
    async of(runId) {
      const subject = entitySubject('run', runId);
      const { promise, resolve, reject } = Promise.withResolvers<Ended>();
      watched.set(subject, { turns: 0, resolve, reject });
      const late = setTimeout(async () => {
        const events = await bus.read('run', runId);
        reject(new Error(`${runId} did not end: ${events.map(({ type, time }) => `${type} ${time}`).join(', ')}`));
      }, runMsMax);
      return promise.finally(() => {
        clearTimeout(late);
        watched.delete(subject);
      });
    },
    [Symbol.asyncDispose]: () => nc.close(),
  };
}
