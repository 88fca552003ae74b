import { commandWebhook, foldWebhook } from '#shared/command.ts';
import * as api from '#shared/contracts/api/webhooks.ts';
import { listWebhooks } from '#shared/contracts/store.ts';
import { Progress } from '#shared/contracts/webhook.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import { webhookView } from '#shared/domain/webhook.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { idFor, newId } from '#shared/ids.ts';
import { actorOf, on } from '../auth.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';
import { newWebhookSecret } from '../webhooks/sign.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';

type WebhookOptions = {
  writer: Writer;
  /** Undefined: there is nothing to seal a secret with. */
  webhooks: Webhooks | undefined;
};

/** Webhooks: made, shown, tried, enabled, deleted. */
export const webhookRoutes = ({ writer, webhooks }: WebhookOptions): Route[] => [
  route({
    ...api.createWebhook,
    async handle({ body: { secret = newWebhookSecret(), ...asked }, bus, caller, ctx, once }) {
      const { seal, check, checkRoom } = able(webhooks);
      const { sub: owner, workstreams = [] } = caller;
      // Who is limited to one workstream means that one.
      const terms = {
        ...asked,
        workstream: asked.workstream ?? (workstreams.length === 1 ? (workstreams[0] ?? null) : null),
      };
      await check(caller, terms.url);
      checkRoom(terms.workstream);
      const id = once ? idFor('whk', once.at, 'once', once.id) : newId('whk');
      const command = { type: 'create', terms, sealed: seal.close(id, secret), owner } as const;
      const { seq } = await commandWebhook(bus, id, command, on(writer, caller));
      ctx.set({ Location: `/webhooks/${id}`, 'Toka-Seq': String(seq) });
      return { ...webhookView(await readWebhook(bus, id)), secret };
    },
  }),
  route({
    ...api.listWebhooks,
    handle: ({ query, bus }) => bus.ask(listWebhooks, query),
  }),
  route({
    ...api.getWebhook,
    async handle({ params: { id }, bus }) {
      const view = webhookView(await readWebhook(bus, id));
      const progress = Progress.safeParse(await bus.positions.get(id));
      return { ...view, delivery: progress.data ?? null };
    },
  }),
  route({
    ...api.deleteWebhook,
    async handle({ params: { id }, bus, caller, ctx }) {
      const command = { type: 'delete', reason: 'asked by the API' } as const;
      const { seq } = await commandWebhook(bus, id, command, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
    },
  }),
  route({
    ...api.enableWebhook,
    async handle({ params: { id }, body, bus, caller, ctx }) {
      const { reason = 'asked by the API', skip = false } = body ?? {};
      const { seq } = await commandWebhook(bus, id, { type: 'enable', reason, skip }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
      return webhookView(await readWebhook(bus, id));
    },
  }),
  route({
    ...api.testWebhook,
    async handle({ params: { id }, bus, caller }) {
      const { attempt } = able(webhooks);
      const webhook = await readWebhook(bus, id);
      const message = testOf(webhook, { ...writer, actor: actorOf(caller) });
      const {
        how: outcome,
        status,
        reason,
        durationMs,
      } = await attempt(caller, webhook, message, new AbortController().signal);
      return { outcome, status, reason, durationMs };
    },
  }),
];

function able(webhooks: Webhooks | undefined): Webhooks {
  if (webhooks) return webhooks;
  throw new Failure('conflict', 'webhooks need JWT_SECRET, which their secrets are sealed with; it is not set');
}

/** It stands in no log, and looks like what does. */
function testOf({ id }: Webhook, { source, actor }: Writer): { id: string; text: string } {
  const event = {
    ...{ specversion: '1.0', id: newId('evt'), source, type: 'toka.webhook.test.v1', subject: `webhook/${id}` },
    ...{ time: new Date().toISOString(), datacontenttype: 'application/json', actor, data: {} },
  };
  return { id: event.id, text: JSON.stringify(event) };
}

/** A webhook straight from the log, so that one reads what one has just written. */
async function readWebhook(bus: TenantBus, id: string): Promise<Webhook> {
  const webhook = foldWebhook(await bus.read('webhook', id));
  if (!webhook || webhook.state === 'deleted') throw new Failure('not-found', `there is no webhook "${id}"`);
  return webhook;
}
