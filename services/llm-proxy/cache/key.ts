import type { ChatRequest } from '#shared/contracts/llm.ts';
import type { Target } from '../models/target.ts';
import type { Inert } from './canonical.ts';
import { hashCanonical } from './canonical.ts';
import { inertFields, unstreamed } from './inert.ts';

export type CachedWire = keyof typeof inertFields;

type HttpQuestion = {
  /** Who shares answers: nobody outside of it gets them. */
  namespace: string;
  wire: CachedWire;
  /** Where it may go, in place of the body's `model`. */
  model: readonly string[];
  /** The request's body, read from JSON. */
  body: Readonly<Record<string, unknown>>;
  /** Headers that choose among versions of the wire. */
  versionHeaders: Readonly<Record<string, string | undefined>>;
};

const inertOf = (wire: CachedWire) => ({
  streamed: { body: inertFields[wire] },
  whole: { body: { ...inertFields[wire], ...unstreamed } },
});
const inertOfHttp = new Map<string, ReturnType<typeof inertOf>>(
  (Object.keys(inertFields) as CachedWire[]).map((wire) => [wire, inertOf(wire)]),
);

/**
 * The same for two requests only if nothing that can change the bytes of their answer differs. A field that is not known counts. Throws
 * `invalid` where the body nests too deep.
 */
export function httpCacheKey({ namespace, wire, model, body, versionHeaders }: HttpQuestion): string {
  const { streamed, whole } = inertOfHttp.get(wire) ?? inertOf(wire);
  const question = { form: 'http-1', namespace, wire, model, versionHeaders, body };
  return hashCanonical(question, (body.stream ?? false) === false ? whole : streamed);
}

type Place = { targets: readonly string[]; maxOutputTokens: number };

/** Where an answer may come from, in an order of its own: whichever of a model's endpoints comes first this time. */
export const placesOf = (targets: readonly Target[]): string[] =>
  targets.map(({ endpoint, model }) => JSON.stringify([endpoint.name, endpoint.baseUrl, model])).sort();

const inertOfTyped: Inert = {
  request: {
    key: true,
    runId: true,
    seen: true,
    trace: true,
    workstream: true,
    priority: true,
    cache: true,
    context: true,
    stream: true,
    // In the place, as they came out.
    model: true,
    maxOutputTokens: true,
  },
};

/** The same for two calls only if nothing that can change their answer differs, and one agent asks. */
export const typedCacheKey = (request: ChatRequest, place: Place): string =>
  hashCanonical({ form: 'typed-1', place, request }, inertOfTyped);
