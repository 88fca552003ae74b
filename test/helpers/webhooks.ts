import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import type { Gateway } from './gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** Receivers on this machine may be reached, and what fails is tried again soon. */
export const inside = { WEBHOOK_EXEMPT: '127.0.0.0/8', WEBHOOK_PLAIN_HTTP: 'true', WEBHOOK_BACKOFF: '0.02' };

/** Appends an event that a test knows again by its reason. */
export const tell = ({ bus }: Gateway, reason: string, run = newId('run')) =>
  bus.append(newEvent({ type: 'toka.run.dispatched.v1', data: { reason } }, `run/${run}`, writer));

export async function tellAll(gateway: Gateway, count: number, from = 1): Promise<string[]> {
  const reasons = Array.from({ length: count }, (_, index) => String(from + index));
  for (const reason of reasons) await tell(gateway, reason);
  return reasons;
}

/** A webhook for the events of runs, unless the body says otherwise. */
export async function makeWebhook({ call }: Gateway, body: object) {
  const { status, json, text, headers } = await call('POST', '/webhooks', { types: ['toka.run.*'], ...body });
  if (status !== 201) throw new Error(text);
  return { id: String(json.id), secret: String(json.secret), view: json, seq: headers.get('toka-seq') };
}
