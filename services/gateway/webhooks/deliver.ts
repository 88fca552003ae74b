import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import { commandWebhook } from '#shared/command.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { isWebhookEvent } from '#shared/contracts/events.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import { messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Written } from '../read-on.ts';
import { readOn } from '../read-on.ts';
import type { Wanted } from '../wanted.ts';
import type { Attempt, Outcome } from './attempt.ts';
import type { Keeper } from './keeper.ts';
import { openKeeper } from './keeper.ts';
import type { Patience } from './progress.ts';
import { delivered, failed, isGivenUp, waitMsAfter } from './progress.ts';

/** Events that one webhook has at hand at a time: the rest stays in the log. */
const batch = 16;
const againMs = 1_000;

export type Delivering = {
  bus: Bus;
  wanted: Wanted;
  attempt: Attempt;
  patience: Patience;
  writer: Writer;
  logger: Logger;
  metrics: Metrics;
};

/** One webhook at work. `stop`: nothing new is begun; `cut`: what is under way is given up, too. */
export type Job = {
  webhook: Webhook;
  stop: AbortSignal;
  cut: AbortSignal;
  /** When the event at hand happened; undefined: none is. */
  sinceMs?: number | undefined;
};

/**
 * Delivers the log to one webhook, in order and at least once, from where it had come, until it is told to stop. What fails is read from the log
 * again when its time has come: nothing piles up here.
 */
export async function deliver(context: Delivering, job: Job): Promise<void> {
  const { webhook, stop } = job;
  const warn = (error: unknown) =>
    context.logger.warn({ webhook: webhook.id, reason: messageOf(error) }, 'this webhook will be tried again');
  await using keeper = await openKeeper(context.bus, webhook, stop, warn);
  while (keeper && !stop.aborted) {
    const waitMs = await goOn(context, job, keeper).catch((error) => {
      warn(error);
      return againMs;
    });
    await delay(waitMs, undefined, { signal: stop }).catch(() => undefined);
  }
  // Where it was cut off, another may have come further by now.
  if (!job.cut.aborted) await keeper?.keep();
}

/** Delivers until one fails, or until it is stopped; answers how long to wait. */
async function goOn(context: Delivering, job: Job, keeper: Keeper): Promise<number> {
  const { webhook, stop, cut } = job;
  const failure = new AbortController();
  const signal = AbortSignal.any([stop, failure.signal]);
  let waitMs = 0;
  for await (const written of readOn(context.bus, { from: keeper.progress().seq + 1, batch, signal })) {
    if (signal.aborted) continue; // the reader ends by itself, and takes its consumer with it
    if (await isFor(webhook, written.event, context.wanted)) {
      job.sinceMs = Date.parse(written.event.time);
      const outcome = await attempt(context, webhook, written, cut);
      if (cut.aborted) continue;
      if (outcome.how !== 'delivered') {
        failure.abort();
        waitMs = await fail(context, job, keeper, outcome);
        continue;
      }
      keeper.changed(delivered(written.event.seq));
    } else keeper.passed(written.event.seq);
    job.sinceMs = undefined;
  }
  return waitMs;
}

/** What becomes of webhooks is never delivered to any: a delivery must not lead to another. */
const isFor = async ({ types, agent, workstream }: Webhook, event: Recorded, wanted: Wanted): Promise<boolean> =>
  !isWebhookEvent(event) &&
  (await wanted(event, {
    types: types.length > 0 ? types : undefined,
    agent: agent ?? undefined,
    workstream: workstream ?? undefined,
  }));

async function attempt({ attempt, metrics }: Delivering, webhook: Webhook, written: Written, cut: AbortSignal) {
  const outcome = await attempt(webhook, { id: written.event.id, text: written.text }, cut);
  if (!cut.aborted) {
    metrics.webhookDeliveries.inc({ outcome: outcome.how });
    metrics.webhookSeconds.observe(outcome.durationMs / 1000);
  }
  return outcome;
}

/** Counts a failure; answers how long to wait, for ever once the webhook is disabled: whoever enables it starts it anew. */
async function fail(context: Delivering, job: Job, keeper: Keeper, outcome: Outcome): Promise<number> {
  const { webhook, stop } = job;
  const { patience } = context;
  keeper.changed(failed(keeper.progress(), outcome.reason, Date.now()));
  const progress = keeper.progress();
  context.logger.info({ webhook: webhook.id, reason: outcome.reason, failures: progress.failures }, 'not delivered');
  if (outcome.how !== 'gone' && !isGivenUp(progress, patience, Date.now()))
    return waitMsAfter(progress, patience, { random: Math.random(), retryAfterMs: outcome.retryAfterMs });
  await keeper.keep();
  const since = progress.failures > 1 ? `, ${progress.failures} times in a row since ${progress.failingSince}` : '';
  const reason = `it was not delivered to: ${outcome.reason}${since}`;
  const { changed } = await commandWebhook(context.bus, webhook.id, { type: 'disable', reason }, context.writer);
  if (changed) context.metrics.webhooksDisabled.inc();
  if (!stop.aborted) await once(stop, 'abort');
  return 0;
}
