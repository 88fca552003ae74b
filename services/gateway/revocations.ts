import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { thingOf } from '#shared/domain/ownership.ts';
import type { Following } from '#shared/follow-entities.ts';
import { followEntities } from '#shared/follow-entities.ts';
import type { Logger } from '#shared/log.ts';

/** Tokens that count no more, as the log tells of them from moment to moment. */
export type Revocations = Following & {
  has(tokenId: string): boolean;
  /** Aborted when the token is revoked; disposing it forgets about that. */
  watch(tokenId: string | undefined): { signal: AbortSignal } & Disposable;
};

/** What the log calls a token: only its issuer knows which names of theirs are unique. */
export const tokenIdOf = (iss: string | null, jti: string): string =>
  createHash('sha256')
    .update(JSON.stringify([iss, jti]))
    .digest('hex');

export async function openRevocations(bus: Bus, logger: Logger): Promise<Revocations> {
  const revoked = new Set<string>();
  const heard = new EventEmitter().setMaxListeners(0);
  const apply = (event: Recorded) => {
    if (event.type !== 'toka.token.revoked.v1') return;
    const { id } = thingOf(event);
    revoked.add(id);
    heard.emit(id);
  };
  const following = await followEntities(bus, logger, { entity: 'token', what: 'revoked tokens', apply });
  return {
    ...following,
    has: (id) => revoked.has(id),
    watch(id) {
      const controller = new AbortController();
      const abort = () => controller.abort();
      if (id === undefined) return { signal: controller.signal, [Symbol.dispose]: () => undefined };
      if (revoked.has(id)) abort();
      heard.once(id, abort);
      return { signal: controller.signal, [Symbol.dispose]: () => void heard.off(id, abort) };
    },
  };
}
