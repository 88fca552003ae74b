import type { Recorded, WebhookDraft, WebhookEvent } from '#shared/contracts/events.ts';
import type { WebhookView } from '#shared/contracts/store.ts';
import type { WebhookTerms } from '#shared/contracts/webhook.ts';
import { Failure } from '#shared/errors.ts';

/** A webhook's life. `began`: the sequence of the event that made it, which is its place in a list. */
export type Webhook = WebhookTerms & {
  id: string;
  sealed: string;
  /** `sub` of the token that made it. */
  owner: string;
  began: number;
  createdAt: string;
  state: 'active' | 'disabled' | 'deleted';
  disabled: { reason: string; at: string } | null;
  /** What counts is what came after this sequence. */
  after: number;
  /** Since then it is to be delivered to: failures before do not count. */
  activeAt: string;
};

export type WebhookCommand =
  | { type: 'create'; terms: WebhookTerms; sealed: string; owner: string }
  | { type: 'disable'; reason: string }
  | { type: 'enable'; reason: string; skip: boolean }
  | { type: 'reseal'; from: string; sealed: string }
  | { type: 'delete'; reason: string };

/** What has happened: folds one event into the webhook. */
export function evolve(webhook: Webhook | undefined, event: Recorded<WebhookEvent>): Webhook | undefined {
  if (event.type === 'toka.webhook.created.v1') return webhook ?? created(event);
  if (!webhook || webhook.state === 'deleted') return webhook; // nothing brings one back
  switch (event.type) {
    case 'toka.webhook.disabled.v1':
      return { ...webhook, state: 'disabled', disabled: { reason: event.data.reason, at: event.time } };
    case 'toka.webhook.enabled.v1': {
      const after = event.data.skip ? event.seq : webhook.after;
      return { ...webhook, state: 'active', disabled: null, after, activeAt: event.time };
    }
    case 'toka.webhook.resealed.v1':
      return { ...webhook, sealed: event.data.sealed };
    case 'toka.webhook.deleted.v1':
      return { ...webhook, state: 'deleted' };
  }
}

type Created = Extract<Recorded<WebhookEvent>, { type: 'toka.webhook.created.v1' }>;

const created = ({ subject, data, seq, time }: Created): Webhook => ({
  id: subject.slice('webhook/'.length),
  ...data,
  began: seq,
  createdAt: time,
  state: 'active',
  disabled: null,
  after: seq,
  activeAt: time,
});

/** What may happen next: answers a command with events, or throws a Failure. Repeating a command yields none. */
export function decide(webhook: Webhook | undefined, command: WebhookCommand): WebhookDraft[] {
  if (command.type === 'create') return create(webhook, command);
  if (!webhook) throw new Failure('not-found', 'there is no such webhook');
  switch (command.type) {
    case 'disable': {
      const { reason } = command;
      return webhook.state === 'active' ? [{ type: 'toka.webhook.disabled.v1', data: { reason } }] : [];
    }
    case 'enable': {
      if (webhook.state === 'deleted') throw new Failure('not-found', `the webhook "${webhook.id}" was deleted`);
      const data = { reason: command.reason, skip: command.skip };
      return webhook.state === 'disabled' ? [{ type: 'toka.webhook.enabled.v1', data }] : [];
    }
    case 'reseal': {
      const isAsKnown = webhook.state !== 'deleted' && webhook.sealed === command.from;
      return isAsKnown ? [{ type: 'toka.webhook.resealed.v1', data: { sealed: command.sealed } }] : [];
    }
    case 'delete':
      return webhook.state === 'deleted' ? [] : [{ type: 'toka.webhook.deleted.v1', data: { reason: command.reason } }];
  }
}

function create(
  webhook: Webhook | undefined,
  { terms, sealed, owner }: Extract<WebhookCommand, { type: 'create' }>,
): WebhookDraft[] {
  if (webhook) {
    throw new Failure(
      'conflict',
      `this Idempotency-Key made ${webhook.id} already, and a secret is shown only once; if it is lost, delete that webhook and make another with a new Idempotency-Key`,
    );
  }
  return [{ type: 'toka.webhook.created.v1', data: { ...terms, sealed, owner } }];
}

/** A webhook as it is shown: without its secret. */
export const webhookView = ({ id, url, types, agent, workstream, ...webhook }: Webhook): WebhookView => ({
  ...{ id, url, types, agent, workstream },
  owner: webhook.owner,
  createdAt: webhook.createdAt,
  state: webhook.state === 'active' ? 'active' : 'disabled',
  disabled: webhook.disabled,
});
