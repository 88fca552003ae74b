import { setTimeout as delay } from 'node:timers/promises';
import type { Verdict } from '#shared/bus/gate.ts';
import { messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import type { Archive } from './archive.ts';
import type { Comparison } from './same-log.ts';
import { adviceOn, compareWithAll } from './same-log.ts';
import { seed } from './seed.ts';
import { createTeller, tellMs } from './tell-end.ts';

const lookMs = 100;
const againMs = 2_000;
const failedMs = 500;
const standsMs = 10_000;
/** For as long a store's refusal counts after it was last renewed. */
export const refusalMs = 10_000;

/** Whether what comes from the log may go into the archive. */
export type Guard = {
  /** `ok`, or why not. */
  state(): string;
  /** Hears each time that they have been compared. */
  onChange(handle: () => void): void;
  /** Whether the archive is known to be that of the log, whatever else is wrong. */
  isOurs(): boolean;
  /** While the archive is not whole it says of itself that it holds nothing: then nothing leaves the log. */
  trust(check: () => boolean): void;
};

/**
 * Compares log and archive when this store starts and at each start of nats-server, and says on the bus whether events may be appended: until
 * then nobody does. A difference is looked at again every two seconds, for it may have been mended. Says there, too, how far this archive has
 * come: a store whose archive ends earlier does not know otherwise what the log should hold.
 */
export async function guardLog(context: Context<unknown>, archive: Archive): Promise<Guard> {
  const { bus, logger, metrics, stack } = context;
  let judged: { place: string; comparison: Comparison } | undefined;
  let lookedMs = 0;
  const handles: (() => void)[] = [];
  const state = () => {
    if (!judged || judged.place !== bus.gate.place()) return 'waits until log and archive have been compared';
    return judged.comparison.is === 'same' ? 'ok' : adviceOn(judged.comparison);
  };
  let isWhole = () => true;
  const tellEnd = createTeller(bus, { id: archive.id, end: () => (isWhole() ? archive.seq : 0) });
  const isOne = (...of: Comparison['is'][]) =>
    judged !== undefined && judged.place === bus.gate.place() && of.includes(judged.comparison.is);
  /** Of another log than the archive's, its end says nothing. */
  const isOurs = () => isOne('same', 'short');
  const judge = async (place: string) => {
    const comparison = await compareOrSeed(context, archive);
    if (place !== bus.gate.place()) return;
    const isNew = judged?.place !== place;
    const before = judged?.comparison;
    judged = { place, comparison };
    for (const handle of handles) handle();
    if (isNew && isOurs()) await tellEnd({ anew: true });
    metrics.logRefused.set(comparison.is === 'same' ? 0 : 1);
    if (comparison.is !== 'same' && before?.is !== comparison.is)
      logger.error({ comparison }, `no service writes: ${adviceOn(comparison)}`);
    if (comparison.is === 'same' && before && before.is !== 'same') logger.info('log and archive are the same again');
    await giveVerdict(context, archive.id, place, comparison);
  };
  const turn = async () => {
    const place = bus.gate.place();
    if (place === undefined) return;
    const isNew = judged?.place !== place;
    const isRefused = judged?.comparison.is !== 'same';
    const sinceMs = performance.now() - lookedMs;
    if (!isNew && sinceMs < (isRefused ? againMs : standsMs)) return;
    if (isNew || isRefused || (await bus.gate.verdict())?.place !== place) await judge(place);
    lookedMs = performance.now();
  };

  const { first, end } = watch(async () => {
    await turn();
    return judged !== undefined;
  }, logger);
  repeat(stack, tellMs, async () => (isOurs() ? tellEnd() : undefined));
  stack.defer(async () => {
    await end();
    // By now it has taken all that it will.
    if (bus.connected() && isOurs()) await tellEnd();
  });
  await first;
  return {
    state,
    onChange: (handle) => void handles.push(handle),
    isOurs: () => isOne('same', 'short', 'behind'),
    trust: (check) => {
      isWhole = check;
    },
  };
}

/** Does `turn` again and again until `end`; `first` resolves once it has answered true. */
function watch(turn: () => Promise<boolean>, logger: Context<unknown>['logger']) {
  const stop = new AbortController();
  const { signal } = stop;
  const first = Promise.withResolvers<void>();
  const watching = (async () => {
    while (!signal.aborted) {
      let waitMs = lookMs;
      try {
        if (await turn()) first.resolve();
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'log and archive could not be compared; trying again');
        waitMs = failedMs;
      }
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
    first.resolve();
  })();
  const end = async () => {
    stop.abort();
    await watching;
  };
  return { first: first.promise, end };
}

/**
 * Takes from another store what this archive lacks of what has left the log. Where they have no event in common, another store tells whether this
 * is an archive of this log, or that it was known here before.
 */
async function compareOrSeed({ bus, logger }: Context<unknown>, archive: Archive): Promise<Comparison> {
  const comparison = await compareWithAll(archive, bus);
  const { firstSeq } = await bus.logSight();
  const isApart = archive.seq > 0 && archive.seq < firstSeq;
  if (comparison.is !== 'early' && !(comparison.is === 'same' && isApart)) return comparison;
  const archived = archive.seq;
  switch (await seed(bus, archive, logger)) {
    case 'taken':
      return compareWithAll(archive, bus);
    case 'other':
      return { is: 'other', archived, what: `event ${archived}, which has left it, was another than the archive's` };
    case 'none': {
      if (comparison.is === 'early' || (await bus.archives.list()).some(({ id }) => id === archive.id))
        return comparison;
      const what = `it begins with event ${firstSeq}, and nothing tells that the archive's ${archived} came before`;
      return { is: 'early', archived, what };
    }
  }
}

/** Says what was found, unless another store has found a difference: that one's archive would lose events. */
async function giveVerdict(
  { bus, logger }: Context<unknown>,
  archive: string,
  place: string,
  comparison: Comparison,
): Promise<void> {
  const said = await bus.gate.verdict();
  const isSame = comparison.is === 'same';
  if (isSame && said && isOthersRefusal(said, archive, place)) {
    logger.warn({ archive: said.archive }, 'another store finds a difference between the log and its archive');
    return;
  }
  await bus.gate.give({
    place,
    archive,
    state: isSame ? 'ok' : 'refused',
    reason: isSame ? '' : adviceOn(comparison),
    time: new Date().toISOString(),
  });
}

const isOthersRefusal = (said: Verdict, archive: string, place: string): boolean =>
  said.state === 'refused' &&
  said.place === place &&
  said.archive !== archive &&
  Date.now() - Date.parse(said.time) < refusalMs;
