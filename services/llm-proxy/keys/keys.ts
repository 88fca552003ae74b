import type { Bus } from '#shared/bus/bus.ts';
import { isKeyEvent } from '#shared/contracts/events.ts';
import type { Following } from '#shared/follow-entities.ts';
import { followEntities } from '#shared/follow-entities.ts';
import type { Logger } from '#shared/log.ts';
import type { Key } from './keyring.ts';
import { createKeyring } from './keyring.ts';

/** The client keys, as the log tells of them from moment to moment. */
export type Keys = Following & {
  /** The key whose secret `token` is, if it is neither revoked nor expired. Never throws. */
  find(token: string, nowMs: number): Key | undefined;
};

/** Follows the log of client keys from its start; it is open once it holds all that there were. Throws `unavailable` after a minute. */
export async function openKeys(bus: Bus, logger: Logger): Promise<Keys> {
  const ring = createKeyring();
  const following = await followEntities(bus, logger, {
    entity: 'key',
    what: 'client keys',
    apply: (event) => (isKeyEvent(event) ? ring.apply(event) : undefined),
  });
  logger.info({ keys: ring.count() }, 'client keys are known');
  return { ...following, find: ring.find };
}
