import type { Bus } from './bus/bus.ts';
import type { Recorded } from './contracts/events.ts';
import type { Entity } from './contracts/subjects.ts';
import { entitySubject } from './contracts/subjects.ts';
import { Failure, messageOf } from './errors.ts';
import type { Logger } from './log.ts';

const openMsMax = 60_000;

export type Following = {
  /** `ok`, or why changes are no longer seen: for the health check. */
  state(): string;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Follows all entities of a kind from the log's start, from moment to moment; it is open once `apply` has had all events that there were.
 * `what` is their name for people. Throws `unavailable` after a minute.
 */
export async function followEntities(
  bus: Bus,
  logger: Logger,
  { entity, what, apply }: { entity: Entity; what: string; apply(event: Recorded): void },
): Promise<Following> {
  const subject = entitySubject(entity, '*');
  const stop = new AbortController();
  const caughtUp = Promise.withResolvers<void>();
  let state = 'ok';

  const following = (async () => {
    for await (const raw of bus.follow({
      from: 1,
      subjects: [subject],
      caughtUp: caughtUp.resolve,
      signal: stop.signal,
    })) {
      const event = bus.readEvent(raw);
      if (event) apply(event);
    }
  })().catch((error) => {
    state = `${what} are no longer read from the log: ${messageOf(error)}`;
    logger.error({ err: error }, `${what} are no longer read from the log`);
    caughtUp.reject(error);
  });

  const close = async () => {
    stop.abort();
    await following;
  };
  const late = setTimeout(() => {
    const seconds = openMsMax / 1_000;
    caughtUp.reject(new Failure('unavailable', `${what} could not be read from the log within ${seconds} s`));
  }, openMsMax);
  try {
    await caughtUp.promise;
  } catch (error) {
    await close();
    throw error;
  } finally {
    clearTimeout(late);
  }
  return { state: () => state, [Symbol.asyncDispose]: close };
}
