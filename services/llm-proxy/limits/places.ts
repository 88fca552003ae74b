import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

type Options = {
  /** Calls at a time. */
  max: number;
  /** Of them, those that client keys never get. */
  agents: number;
};

/** The places for calls at a time. `client`: the client key that asks; undefined: an agent does. */
export type Places = {
  /** Why there is none now; undefined: there is one. */
  refusal(client: string | undefined): Failure | undefined;
  /** Takes one. Answers how to give it back, once. */
  take(client: string | undefined): () => void;
};

/**
 * Agents take any place. A client key takes one only while it holds fewer than are left for client keys: alone it gets half of them, beside
 * another a third, and whoever comes later finds some, though nobody has to give one back.
 */
export function createPlaces({ max, agents }: Options, metrics: Metrics): Places {
  const clientsMax = max - agents;
  const held = new Map<string, number>();
  let active = 0;
  let ofClients = 0;
  metrics.llmConcurrency.set(max);
  const count = (by: 1 | -1, client: string | undefined) => {
    active += by;
    metrics.llmActive.set(active);
    if (client === undefined) return;
    ofClients += by;
    metrics.llmActiveClients.set(ofClients);
    const own = (held.get(client) ?? 0) + by;
    if (own > 0) held.set(client, own);
    else held.delete(client);
  };
  const refuse = (by: 'places' | 'key-places', failure: Failure) => {
    metrics.llmSentAway.inc({ by });
    return failure;
  };
  return {
    refusal(client) {
      if (active >= max) return refuse('places', noRoom(max));
      if (client === undefined) return undefined;
      const left = Math.min(max - active, clientsMax - ofClients);
      if (left <= 0) return refuse('places', noRoomForClients(clientsMax, max));
      const own = held.get(client) ?? 0;
      return own < left ? undefined : refuse('key-places', shareTaken(own, left));
    },
    take(client) {
      let isHeld = true;
      count(1, client);
      return () => {
        if (isHeld) count(-1, client);
        isHeld = false;
      };
    },
  };
}

const retryAfterMs = 1_000;

const noRoom = (max: number) =>
  new Failure('unavailable', `LLM_CONCURRENCY is reached: ${max} model calls at a time`, { retryAfterMs });

const noRoomForClients = (clientsMax: number, max: number) =>
  new Failure(
    'unavailable',
    `client keys have all ${clientsMax} places of LLM_CONCURRENCY (${max}) that are not kept for agents (LLM_AGENTS_SHARE)`,
    { retryAfterMs },
  );

const shareTaken = (own: number, left: number) =>
  new Failure(
    'limited',
    `this key makes ${own} model calls now, and ${left} places are left for all client keys: it gets another once it has fewer than are left (LLM_CONCURRENCY)`,
    { retryAfterMs },
  );
