import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import type { Key } from '../../keys/keyring.ts';
import { mayReach, reachable } from '../../keys/reachable.ts';
import type { Parts } from '../../model-call.ts';
import type { JsonObject } from '../../wires/pivot.ts';
import { sendJson } from './reply.ts';

type Asked = { key: Key; query: string; incoming: IncomingMessage };
type Named = { name: string; provider: string; maxInputTokens: number | undefined; maxTokens: number | undefined };

const isAnthropic = ({ headers }: IncomingMessage): boolean => headers['anthropic-version'] !== undefined;

/** The models that a key may name and that can be asked here, aliases among them, as the client's wire lists them. */
export function sendModels(parts: Parts, { key, query, incoming }: Asked, response: ServerResponse): void {
  const usable = usableBy(parts, key);
  if (!isAnthropic(incoming)) {
    sendJson(response, 200, { object: 'list', data: usable.map(forOpenAi) });
    return;
  }
  const { page, has_more } = pageOf(usable, new URLSearchParams(query));
  const ends = { first_id: page[0]?.name ?? null, last_id: page.at(-1)?.name ?? null };
  sendJson(response, 200, { data: page.map(forAnthropic), has_more, ...ends });
}

/** One of them. Throws `not-found`, also for one that the key may not name. */
export function sendModel(parts: Parts, name: string, { key, incoming }: Asked, response: ServerResponse): void {
  const found = usableBy(parts, key).find((each) => each.name === name) ?? askable(parts, key, name);
  sendJson(response, 200, isAnthropic(incoming) ? forAnthropic(found) : forOpenAi(found));
}

/** A name that no list has may be asked for all the same: an endpoint takes any, or it is one of a model with a date. */
function askable({ models }: Parts, key: Key, name: string): Named {
  const text = `there is no model "${name.slice(0, 200)}"`;
  const none = new Failure('not-found', text, { problems: [{ field: 'model', message: text }] });
  if (name === '' || !mayReach(models, key, name)) throw none;
  const [first] = reachable(models, key, name);
  if (!first) throw none;
  const { endpoint, maxOutputTokens } = first;
  return { name, provider: endpoint.name, maxInputTokens: undefined, maxTokens: maxOutputTokens };
}

const usableBy = ({ models }: Parts, key: Key): Named[] =>
  models
    .list()
    .flatMap(({ id, provider, aliases, contextWindow, maxOutputTokens }) =>
      [id, ...aliases].map((name) => ({
        ...{ name, provider, maxInputTokens: contextWindow, maxTokens: maxOutputTokens },
      })),
    )
    .filter(({ name }) => mayReach(models, key, name));

const forOpenAi = ({ name, provider }: Named): JsonObject => ({
  ...{ id: name, object: 'model', created: 0, owned_by: provider },
});

/** As ModelInfo of Anthropic's SDK 1.12 has it (2026-11-30); what is not known is null there. */
const forAnthropic = ({ name, maxInputTokens = null, maxTokens = null }: NullableLimits): JsonObject => ({
  ...{ type: 'model', id: name, display_name: name, created_at: '1970-01-01T00:00:00Z' },
  ...{ max_input_tokens: maxInputTokens, max_tokens: maxTokens, capabilities: null, line: null },
  ...{ lifecycle: 'active', deprecated_at: null, retires_at: null },
});
type NullableLimits = {
  name: string;
  maxInputTokens?: number | null | undefined;
  maxTokens?: number | null | undefined;
};

const limitMax = 1_000;

/** Anthropic's pages: `limit` of those behind `after_id`, or of the last before `before_id`. Without a limit there is one page: not all clients turn it. */
function pageOf(all: readonly Named[], query: URLSearchParams): { page: readonly Named[]; has_more: boolean } {
  const limit = query.get('limit') ?? '';
  if (limit !== '' && !(/^\d{1,4}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= limitMax))
    throw invalid('limit', `must be a whole number from 1 to ${limitMax}`);
  const [after, before] = [placeOf(all, query, 'after_id'), placeOf(all, query, 'before_id')];
  const rest = all.slice(after === undefined ? 0 : after + 1, before);
  const most = limit === '' ? rest.length : Number(limit);
  const page = before !== undefined && after === undefined ? rest.slice(-most) : rest.slice(0, most);
  return { page, has_more: rest.length > page.length };
}

function placeOf(all: readonly Named[], query: URLSearchParams, field: string): number | undefined {
  const id = query.get(field);
  if (id === null || id === '') return undefined;
  const place = all.findIndex(({ name }) => name === id);
  if (place < 0) throw invalid(field, 'must be the id of a listed model');
  return place;
}

const invalid = (field: string, message: string): Failure =>
  new Failure('invalid', `${field}: ${message}`, { problems: [{ field, message }] });
