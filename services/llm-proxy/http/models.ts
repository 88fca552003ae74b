import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Key } from '../keys/keyring.ts';
import type { Parts } from './call.ts';
import { sendJson } from './reply.ts';

/** The listed models that a key may use and that have a provider here, as the client's wire lists them. */
export function sendModels({ models, targets }: Parts, key: Key, incoming: IncomingMessage, response: ServerResponse) {
  const usable = models.list.filter(({ id, provider }) => key.allowsModel(id) && targets.find(id).name === provider);
  const ids = [...new Map(usable.map((model) => [model.id, model])).values()];
  if (incoming.headers['anthropic-version'] === undefined) {
    const data = ids.map(({ id, provider }) => ({ id, object: 'model', created: 0, owned_by: provider }));
    return sendJson(response, 200, { object: 'list', data });
  }
  const data = ids.map(({ id }) => ({ type: 'model', id, display_name: id, created_at: '1970-01-01T00:00:00Z' }));
  const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
  return sendJson(response, 200, { data, has_more: false, ...ends });
}
