import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { violations as refusals } from '#test/helpers/servers.ts';
import type { Row } from './checks/archive.ts';
import { archiveIsStream, chainHolds, logIsKept } from './checks/archive.ts';
import { askedOnce, fullest, limitHolds } from './checks/calls.ts';
import type { Evidence, Incident, Violation } from './checks/evidence.ts';
import { isEnd, runsOf } from './checks/evidence.ts';
import { natsRefusedNobody, nobodyCrashed } from './checks/leftovers.ts';
import {
  doneOnce,
  endedWell,
  endsOnce,
  onlyItsRunnerWrites,
  queuedOnce,
  takenFromHarmed,
  toolsOnce,
} from './checks/runs.ts';
import type { Reader } from './gather.ts';
import { openReader, readArchive } from './gather.ts';
import type { Call } from './network-client.ts';
import type { Descendants } from './orphans.ts';
import { watchDescendants } from './orphans.ts';
import { slowMsMax } from './plan.ts';
import type { World } from './world.ts';
import { limit, taskLeaseMs } from './world.ts';

/** What is seen of a world from outside, and what must hold at any time. */
export type Observation = {
  reader: Reader;
  descendants: Descendants;
  record(incident: Incident): void;
  /** Takes in what is new. Never throws: while NATS is away there is nothing new. */
  tick(): Promise<void>;
  /** Runs that have ended. */
  ended(): number;
  /** What agents have asked a person for. */
  approvals(): string[];
  /** All that is wrong by now. */
  look(): Violation[];
  figures(): Record<string, number>;
  /** Writes down all that was seen, a line of JSON for each thing. */
  write(folder: string): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** From NATS' acknowledgement to whoever asked for it, and what a busy machine takes. */
const wayMs = 250;
/** A machine that stands still for so long does to a lease what a fault does. */
const stallMsMin = 1_500;
const slowMsMin = 2_000;

export async function openObservation(world: World): Promise<Observation> {
  await using stack = new AsyncDisposableStack();
  const reader = stack.use(await openReader(world.nats.port));
  const incidents: Incident[] = [];
  const calls: Call[] = [];
  const archives = new Map<string, Row[]>();
  const descendants = watchDescendants(() => [...world.processes.values()].map((process) => process.pid()));
  const { senders } = world;
  const stalled = (atMs: number, forMs: number) => {
    if (forMs >= stallMsMin) incidents.push({ on: 'machine', what: 'busy', fromMs: atMs - forMs - 500, untilMs: atMs });
  };
  let logBroken: Violation[] = [];

  const tick = async () => {
    descendants.look();
    const askedMs = Date.now();
    await reader.more().catch((error) => {
      if (/^the log ends/.test(String(error?.message))) logBroken = [{ check: 'the log is kept', text: error.message }];
    });
    // After the log: whatever led to an event that is known is known, too.
    const taken = await world.network.take();
    calls.push(...taken.calls);
    for (const { atMs, forMs } of taken.stalls) stalled(atMs, forMs);
    // NATS itself was slow to answer.
    if (Date.now() - askedMs > slowMsMin)
      incidents.push({ on: 'machine', what: 'slow', fromMs: askedMs, untilMs: Date.now() });
  };
  const evidence = (): Evidence => {
    const busy = [...world.processes.values()].flatMap((process) =>
      process.stalls().map((stall) => ({ on: process.name, what: 'busy', ...stall })),
    );
    return { messages: reader.messages, items: [], calls, incidents: [...incidents, ...busy] };
  };
  const archiveOf = (name: string, file: string): Row[] => {
    const rows = archives.get(name) ?? [];
    archives.set(name, rows);
    try {
      rows.push(...readArchive(file, (rows.at(-1)?.seq ?? 0) + 1));
    } catch {
      // its disk is full, or it is being opened
    }
    return rows;
  };
  const owned = stack.move();
  return {
    ...{ reader, descendants, tick },
    record: (incident) => void incidents.push(incident),
    ended: () => [...runsOf(reader.messages).values()].filter((run) => run.some(isEnd)).length,
    approvals: () =>
      reader.messages.flatMap(({ event }) => (event?.type === 'toka.run.approval-requested.v1' ? [event.data.id] : [])),
    look() {
      const { messages } = reader;
      return [
        ...logBroken,
        ...logIsKept([], messages),
        ...endsOnce(messages),
        ...endedWell(messages),
        ...queuedOnce(messages),
        ...onlyItsRunnerWrites(messages),
        ...toolsOnce(messages),
        ...doneOnce(messages),
        ...takenFromHarmed(evidence(), taskLeaseMs),
        ...askedOnce(evidence(), { lateMs: slowMsMax + wayMs, senders }),
        ...limitHolds(evidence(), { ...limit, lateMs: slowMsMax, senders }),
        ...natsRefusedNobody(refusals(world.nats)),
        ...nobodyCrashed(world.crashes),
        ...[...world.databases].flatMap(([name, file]) => {
          const rows = archiveOf(name, file);
          return [...archiveIsStream(name, rows, messages), ...chainHolds(name, rows)];
        }),
      ];
    },
    figures() {
      const { messages } = reader;
      const runs = [...runsOf(messages).values()];
      const count = (type: string) => messages.filter(({ event }) => event?.type === type).length;
      return {
        events: messages.length,
        runs: runs.length,
        ended: runs.filter((run) => run.some(isEnd)).length,
        failed: count('toka.run.failed.v1'),
        retried: count('toka.run.retry-scheduled.v1'),
        takenOver: count('toka.run.started.v1') - count('toka.run.dispatched.v1'),
        modelCalls: calls.length,
        recordedAnswers: count('toka.run.step-completed.v1') + count('toka.run.validated.v1'),
        fullestWindow: fullest(calls, limit.windowMs).count,
        faults: incidents.filter(({ on }) => on !== 'machine').length,
        stalls: incidents.filter(({ on }) => on === 'machine').length,
      };
    },
    async write(folder) {
      const events = reader.messages.map(({ timeMs, event }) => ({ timeMs, ...event }));
      const files = { events, calls, incidents: evidence().incidents };
      for (const [name, list] of Object.entries(files))
        await writeFile(join(folder, `${name}.jsonl`), list.map((each) => `${JSON.stringify(each)}\n`).join(''));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
