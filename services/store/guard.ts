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
  const tellEnd = createTeller(bus, archive);
  /** Of another log than the archive's, its end says nothing. */
  const isOurs = () => judged?.place === bus.gate.place() && ['same', 'short'].includes(judged?.comparison.is ?? '');
  const judge = async (place: string) => {
    let comparison = await compareWithAll(archive, bus);
    if (comparison.is === 'early' && (await seed(bus, archive, logger)))
      comparison = await compareWithAll(archive, bus);
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

  const stop = new AbortController();
  const { signal } = stop;
  const first = Promise.withResolvers<void>();
  const watching = (async () => {
    while (!signal.aborted) {
      let waitMs = lookMs;
      try {
        await turn();
        if (judged) first.resolve();
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'log and archive could not be compared; trying again');
        waitMs = failedMs;
      }
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
    first.resolve();
  })();
  repeat(stack, tellMs, async () => (isOurs() ? tellEnd() : undefined));
  stack.defer(async () => {
    stop.abort();
    await watching;
    // By now it has taken all that it will.
    if (bus.connected() && isOurs()) await tellEnd();
  });
  await first.promise;
  return {
    state,
    onChange: (handle) => void handles.push(handle),
  };
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
