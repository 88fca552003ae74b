import type { ArchiveEnd } from '#shared/bus/archives.ts';
import type { Bus, BusOptions } from '#shared/bus/bus.ts';
import { openArtifactKeeper, openBus, openTrimmer } from '#shared/bus/bus.ts';
import type { Trimmable } from '#shared/bus/trim.ts';
import { messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';
import { collectArtifacts } from './collect-artifacts.ts';
import { keepFilled } from './fill-log.ts';
import type { KeeperConfig } from './settings.ts';
import { dayMs } from './settings.ts';
import { trimLog } from './trim-log.ts';

const everyMs = 60_000;
/** A round looks at each artifact. */
const collectEveryMs = 6 * 3_600_000;
/** A store that says nothing for so long is not waited for: when it comes back it takes from another what has left the log meanwhile. */
const awayMsMax = dayMs;
/** Stores say each hour that they are there. */
const silentMsMax = 3 * 3_600_000;

type Parts = {
  stack: AsyncDisposableStack;
  /** As who may all. */
  admin: BusOptions;
  settings: KeeperConfig;
  /** Archives that are in reach, to fill up from what nats-server has lost. */
  files: readonly string[];
  say(line: string): void;
};

/**
 * The one who may change streams, and does all the time what has to be done there: fills up what the log has lost at its end, takes away
 * events that are older than the settings say, once every archive has them, artifacts that nothing needs any more, and tasks that are done. `npm start` is one, and
 * in the stack the container `keeper`. Two at a time do no harm.
 */
export async function startKeeper({ stack, admin, settings, files, say }: Parts): Promise<{ connected(): boolean }> {
  const bus = stack.use(await openBus({ ...admin, declares: false }, () => undefined));
  keepFilled({ stack, bus, admin, files, say });
  const log = stack.use(await openTrimmer(admin));
  const trim = createTrim(log, bus, settings);
  const sweep = async () => {
    const swept = await log.sweepTasks();
    return swept > 0 ? `${swept} tasks that were done were still on the queue, and are swept` : '';
  };
  const collect = await createCollect(stack, admin, bus, settings);
  for (const [what, work] of [
    ['the log could not be trimmed', trim],
    ['the queue could not be swept', sweep],
    ['artifacts could not be collected', collect],
  ] as const) {
    let told = '';
    const tell = (line: string) => {
      if (line !== '' && line !== told) say(line);
      told = line;
    };
    repeat(
      stack,
      everyMs,
      async () => tell(await work()),
      (error) => tell(`${what}; trying again (${messageOf(error)})`),
    );
  }
  return { connected: () => bus.connected() };
}

/** Both answer what there is to say, if anything. */
type Work = () => Promise<string>;

function createTrim(
  log: Trimmable,
  bus: Bus,
  { EVENTS_MAX_AGE: days, EVENTS_MAX_BYTES: maxBytes }: KeeperConfig,
): Work {
  return async () => {
    // Log and archive must be known to belong together.
    if ((days === 0 && maxBytes === 0) || (await bus.gate.state()) !== 'ok') return '';
    const nowMs = Date.now();
    const archivedTo = archivedByAll(await bus.archives.list(), nowMs);
    if (archivedTo === undefined) return 'nothing leaves the log: no store says how far its archive has come';
    const isArchived = (seq: number) => isSame(bus, seq);
    const left = await trimLog(log, { maxAgeMs: days * dayMs, maxBytes }, { archivedTo, nowMs, isArchived });
    return left > 0 ? `${left} events have left the log; the archive keeps them` : '';
  };
}

/** Whether a store that is there has the very message. What stores told of themselves may be older than what became of them. */
async function isSame(bus: Bus, seq: number): Promise<boolean> {
  const [wanted] = await bus.messagesAt([seq]);
  for await (const found of bus.archived({ from: seq, until: seq, holds: seq }))
    return wanted !== undefined && Buffer.from(wanted.bytes).equals(found.bytes);
  return false;
}

async function createCollect(
  stack: AsyncDisposableStack,
  admin: BusOptions,
  bus: Bus,
  settings: KeeperConfig,
): Promise<Work> {
  const artifacts = stack.use(await openArtifactKeeper(admin));
  let doneMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - doneMs < collectEveryMs || (await bus.gate.state()) !== 'ok') return '';
    const { objects, bytes } = await collectArtifacts({ artifacts, bus }, settings);
    doneMs = performance.now();
    return objects > 0 || bytes > 0 ? `${objects} artifacts that nothing needs any more were taken away` : '';
  };
}

/** The last event that every archive has whose store was heard of within a day; undefined where none was lately. */
export function archivedByAll(ends: readonly ArchiveEnd[], nowMs: number): number | undefined {
  const ageMs = ({ time }: ArchiveEnd) => nowMs - Date.parse(time);
  if (!ends.some((end) => ageMs(end) < silentMsMax)) return undefined;
  return Math.min(...ends.filter((end) => ageMs(end) < awayMsMax).map(({ seq }) => seq));
}
