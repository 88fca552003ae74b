import type { Bus } from '#shared/bus/bus.ts';
import { parseRaw } from '#shared/bus/log.ts';
import { isKeyEvent } from '#shared/contracts/events.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Key } from './keyring.ts';
import { createKeyring } from './keyring.ts';

const subject = entitySubject('key', '*');
const openMsMax = 60_000;

/** The client keys, as the log tells of them from moment to moment. */
export type Keys = {
  /** The key whose secret `token` is, if it is neither revoked nor expired. Never throws. */
  find(token: string, nowMs: number): Key | undefined;
  /** `ok`, or why changes are no longer seen: for the health check. */
  state(): string;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Follows the log of client keys from its start; it is open once it holds all that there were. Throws `unavailable` after a minute. */
export async function openKeys(bus: Bus, logger: Logger): Promise<Keys> {
  const ring = createKeyring();
  const stop = new AbortController();
  const caughtUp = Promise.withResolvers<void>();
  const end = await bus.lastSeq(subject);
  let state = 'ok';
  if (end === 0) caughtUp.resolve();

  const following = (async () => {
    for await (const raw of bus.follow({ from: 1, subject, signal: stop.signal })) {
      try {
        const event = parseRaw(raw);
        if (isKeyEvent(event)) ring.apply(event);
      } catch (error) {
        const reason = messageOf(error).slice(0, 300);
        logger.warn({ seq: raw.seq, reason }, 'an event of a client key that cannot be read was passed over');
      }
      if (raw.seq >= end) caughtUp.resolve();
    }
  })().catch((error) => {
    state = `client keys are no longer read from the log: ${messageOf(error)}`;
    logger.error({ err: error }, 'client keys are no longer read from the log');
    caughtUp.reject(error);
  });

  const close = async () => {
    stop.abort();
    await following;
  };
  const late = setTimeout(() => {
    const seconds = openMsMax / 1_000;
    caughtUp.reject(new Failure('unavailable', `the client keys could not be read from the log within ${seconds} s`));
  }, openMsMax);
  try {
    await caughtUp.promise;
  } catch (error) {
    await close();
    throw error;
  } finally {
    clearTimeout(late);
  }
  logger.info({ keys: ring.count() }, 'client keys are known');
  return { find: ring.find, state: () => state, [Symbol.asyncDispose]: close };
}
