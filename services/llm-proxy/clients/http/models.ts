import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Key } from '../../keys/keyring.ts';
import { mayReach } from '../../keys/reachable.ts';
import type { Parts } from '../../model-call.ts';
import { sendJson } from './reply.ts';

/** The models that a key may name and that can be asked here, aliases among them, as the client's wire lists them. */
export function sendModels({ models }: Parts, key: Key, incoming: IncomingMessage, response: ServerResponse) {
  const named = models
    .list()
    .flatMap(({ id, provider, aliases }) => [id, ...aliases].map((name) => ({ name, provider })));
  const usable = named.filter(({ name }) => mayReach(models, key, name));
  if (incoming.headers['anthropic-version'] === undefined) {
    const data = usable.map(({ name, provider }) => ({ id: name, object: 'model', created: 0, owned_by: provider }));
    return sendJson(response, 200, { object: 'list', data });
  }
  const data = usable.map(({ name }) => ({
    ...{ type: 'model', id: name, display_name: name },
    created_at: '1970-01-01T00:00:00Z',
  }));
  const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
  return sendJson(response, 200, { data, has_more: false, ...ends });
}
