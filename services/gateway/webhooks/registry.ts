import type { Bus } from '#shared/bus/bus.ts';
import { isWebhookEvent } from '#shared/contracts/events.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import { evolve } from '#shared/domain/webhook.ts';
import type { Following } from '#shared/follow-entities.ts';
import { followEntities } from '#shared/follow-entities.ts';
import type { Logger } from '#shared/log.ts';

/** The webhooks that were not deleted, as the log tells of them from moment to moment. */
export type Registry = Following & {
  webhooks: ReadonlyMap<string, Webhook>;
};

/** `changed` hears of each change, and which webhook was deleted. */
export async function openRegistry(
  bus: Bus,
  logger: Logger,
  changed: (deleted: string | undefined) => void,
): Promise<Registry> {
  const webhooks = new Map<string, Webhook>();
  const following = await followEntities(bus, logger, {
    entity: 'webhook',
    what: 'webhooks',
    apply(event) {
      if (!isWebhookEvent(event)) return;
      const id = event.subject.slice('webhook/'.length);
      const webhook = evolve(webhooks.get(id), event);
      const isDeleted = webhook?.state === 'deleted';
      if (isDeleted) webhooks.delete(id);
      else if (webhook) webhooks.set(id, webhook);
      changed(isDeleted ? id : undefined);
    },
  });
  return { ...following, webhooks };
}
