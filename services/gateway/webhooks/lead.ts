import type { Lease } from '#shared/bus/lease.ts';
import { commandWebhook } from '#shared/command.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import { messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import type { Config } from '../config.ts';
import { createWanted } from '../wanted.ts';
import type { Attempt } from './attempt.ts';
import type { Job } from './deliver.ts';
import { deliver } from './deliver.ts';
import type { Registry } from './registry.ts';
import { openRegistry } from './registry.ts';
import type { Seal } from './seal.ts';

const showMs = 5_000;

type Work = { job: Job; stop: AbortController; cut: AbortController; done: Promise<void> };

/** Knows all webhooks, and, if this gateway is the one of several that leads, delivers to those that are active: each at its own pace. */
export async function leadDelivery(context: Context<Config>, attempt: Attempt, seal: Seal): Promise<Registry> {
  const { bus, config, instance, logger, metrics, writer, stack, stopping } = context;
  const patience = {
    backoffMs: config.WEBHOOK_BACKOFF * 1000,
    backoffMsMax: config.WEBHOOK_BACKOFF_MAX * 1000,
    failuresMax: config.WEBHOOK_FAILURES_MAX,
    failingMsMax: config.WEBHOOK_FAILING_HOURS_MAX * 3_600_000,
  };
  const delivering = { bus, wanted: createWanted(bus), attempt, patience, writer, logger, metrics };
  const works = new Map<string, Work>();
  let lease: Lease | undefined;

  const reconcile = () => {
    const leads = lease?.isHeld() === true && !stopping.aborted;
    const isWanted = (id: string) => leads && registry.webhooks.get(id)?.state === 'active';
    for (const [id, { job, stop, cut }] of works) {
      // What is active again since is another job, once this one has ended.
      if (isWanted(id) && job.webhook === registry.webhooks.get(id)) continue;
      stop.abort();
      if (!stopping.aborted) cut.abort();
    }
    for (const [id, webhook] of leads ? registry.webhooks : []) {
      reseal(context, seal, webhook);
      if (!isWanted(id) || works.has(id)) continue;
      const [stop, cut] = [new AbortController(), new AbortController()];
      const job: Job = { webhook, stop: stop.signal, cut: cut.signal };
      const done = deliver(delivering, job)
        .catch((error) => logger.error({ err: error, webhook: id }, 'a bug: delivering to a webhook ended'))
        .finally(() => {
          works.delete(id);
          reconcile();
        });
      works.set(id, { job, stop, cut, done });
    }
  };
  const forget = async (id: string) => {
    await works.get(id)?.done;
    await bus.positions.remove(id);
  };
  const registry: Registry = await openRegistry(bus, logger, (deleted) => {
    if (!lease) return; // all of it comes at once
    reconcile();
    const leads = lease.isHeld();
    if (deleted && leads) forget(deleted).catch((error) => logger.warn({ reason: messageOf(error) }, 'not forgotten'));
  });
  const held = bus.lead('webhooks', instance, reconcile);
  lease = held;
  context.check('webhooks', registry.state);
  stopping.addEventListener('abort', reconcile, { once: true });
  stack.defer(async () => {
    const late = setTimeout(() => {
      for (const { cut } of works.values()) cut.abort();
    }, config.SHUTDOWN_GRACE * 1000);
    await Promise.all([...works.values()].map(({ done }) => done));
    clearTimeout(late);
    await held[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });
  repeat(stack, showMs, () => {
    metrics.webhookLag.reset();
    for (const [webhook, { job }] of works)
      metrics.webhookLag.set({ webhook }, job.sinceMs === undefined ? 0 : (Date.now() - job.sinceMs) / 1000);
    const disabled = [...registry.webhooks.values()].filter(({ state }) => state === 'disabled').length;
    metrics.webhooks.set({ state: 'disabled' }, disabled);
    metrics.webhooks.set({ state: 'active' }, registry.webhooks.size - disabled);
  });
  return registry;
}

/** After JWT_SECRET was replaced: as soon as this is on the log, the one before is no longer needed for it. */
function reseal({ bus, logger, writer }: Context<Config>, seal: Seal, { id, sealed: from }: Webhook): void {
  const sealed = seal.renew(id, from);
  if (sealed === undefined) return;
  commandWebhook(bus, id, { type: 'reseal', from, sealed }, writer).catch((error) =>
    logger.warn({ webhook: id, reason: messageOf(error) }, 'its secret is still sealed with JWT_SECRET_PREVIOUS'),
  );
}
