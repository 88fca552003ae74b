import type { ArchiveEnd } from '#shared/bus/archives.ts';
import type { BusOptions } from '#shared/bus/bus.ts';
import { openBus, openTrimmer } from '#shared/bus/bus.ts';
import { messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';
import { keepFilled } from './fill-log.ts';
import type { KeeperConfig } from './settings.ts';
import { trimLog } from './trim-log.ts';

const everyMs = 60_000;
const dayMs = 86_400_000;
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
 * The one who may change streams, and does all the time what has to be done there: fills up what the log has lost at its end, and takes away
 * what is older than the settings say, once every archive has it. `npm start` is one, and in the stack the container `keeper`.
 */
export async function startKeeper({ stack, admin, settings, files, say }: Parts): Promise<void> {
  const bus = stack.use(await openBus({ ...admin, declares: false }, () => undefined));
  const log = stack.use(await openTrimmer(admin));
  keepFilled({ stack, bus, admin, files, say });
  const bounds = { maxAgeMs: settings.EVENTS_MAX_AGE * dayMs, maxBytes: settings.EVENTS_MAX_BYTES };
  if (bounds.maxAgeMs === 0 && bounds.maxBytes === 0) return;
  let told = '';
  const tell = (line: string) => {
    if (line !== told) say(line);
    told = line;
  };
  repeat(
    stack,
    everyMs,
    async () => {
      // Log and archive must be known to belong together.
      if ((await bus.gate.state()) !== 'ok') return;
      const nowMs = Date.now();
      const archivedTo = archivedByAll(await bus.archives.list(), nowMs);
      if (archivedTo === undefined) return tell('nothing leaves the log: no store says how far its archive has come');
      const left = await trimLog(log, bounds, { archivedTo, nowMs });
      if (left > 0) say(`${left} events have left the log; the archive keeps them`);
      told = '';
    },
    (error) => tell(`the log could not be trimmed; trying again (${messageOf(error)})`),
  );
}

/** The last event that every archive has whose store was heard of within a day; undefined where none was lately. */
export function archivedByAll(ends: readonly ArchiveEnd[], nowMs: number): number | undefined {
  const ageMs = ({ time }: ArchiveEnd) => nowMs - Date.parse(time);
  if (!ends.some((end) => ageMs(end) < silentMsMax)) return undefined;
  return Math.min(...ends.filter((end) => ageMs(end) < awayMsMax).map(({ seq }) => seq));
}
