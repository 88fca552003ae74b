import { z } from 'zod';
import { eventTypes, fits } from '#shared/contracts/events.ts';
import { WebhookId } from '#shared/contracts/ids.ts';
import { WebhookView } from '#shared/contracts/store.ts';
import { Progress, WebhookSecret, WebhookTerms } from '#shared/contracts/webhook.ts';
import { endpoint } from './endpoint.ts';
import { historyQuery, pageOf, seqQuery } from './paging.ts';

const params = z.object({ id: WebhookId });
const delivered = eventTypes.filter((type) => !type.startsWith('toka.webhook.'));

const WebhookRequest = WebhookTerms.extend({
  secret: WebhookSecret.optional().describe('What deliveries are signed with; without it, one is made'),
}).superRefine(({ types }, context) => {
  for (const [index, type] of types.entries())
    if (!delivered.some((each) => fits(type, each)))
      context.addIssue({ code: 'custom', path: ['types', index], message: 'is no type of event that is delivered' });
});

export const createWebhook = endpoint({
  method: 'post',
  path: '/webhooks',
  scope: 'admin',
  summary:
    'Have events delivered to a URL, signed as Standard Webhooks does; the secret is in this answer alone, so a second request with the same Idempotency-Key gets 409 and the id',
  body: WebhookRequest,
  isSecret: true,
  status: 201,
  answer: WebhookView.extend({
    secret: z.string().describe('What deliveries are signed with (Standard Webhooks). It is shown here only.'),
  }),
});

export const listWebhooks = endpoint({
  method: 'get',
  path: '/webhooks',
  scope: 'admin',
  summary: 'List webhooks, the newest first',
  query: historyQuery,
  answer: pageOf(WebhookView),
});

export const getWebhook = endpoint({
  method: 'get',
  path: '/webhooks/:id',
  scope: 'admin',
  summary: 'Read a webhook, and how far it has come',
  params,
  // Read from the log, it holds every write anyway.
  query: seqQuery,
  answer: WebhookView.extend({ delivery: Progress.nullable().describe('Null before the first delivery') }),
});

export const deleteWebhook = endpoint({
  method: 'delete',
  path: '/webhooks/:id',
  scope: 'admin',
  summary: 'Delete a webhook; nothing more is delivered to it',
  params,
  status: 204,
  answer: null,
});

export const enableWebhook = endpoint({
  method: 'post',
  path: '/webhooks/:id/enable',
  scope: 'admin',
  summary: 'Deliver again to a webhook that was disabled: all that came since, or with `skip` what comes from now on',
  params,
  body: z
    .strictObject({
      reason: z.string().min(1, 'must not be empty').max(500, 'must be at most 500 characters').optional(),
      skip: z.boolean().default(false).describe('Whether what came while it was disabled is left out'),
    })
    .optional(),
  answer: WebhookView,
});

export const testWebhook = endpoint({
  method: 'post',
  path: '/webhooks/:id/test',
  scope: 'admin',
  summary: 'Deliver an event of the type `toka.webhook.test.v1` now, once, and say what became of it',
  params,
  answer: z.object({
    outcome: z.enum(['delivered', 'failed', 'gone']),
    status: z.number().nullable().describe('What the receiver answered'),
    reason: z.string(),
    durationMs: z.number(),
  }),
});
