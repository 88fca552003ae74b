import type { CachedWire } from '../../cache/key.ts';
import type { StreamMarks } from '../../upstreams/stream-watch.ts';
import { anthropicMarks, chatMarks, responsesMarks } from '../../upstreams/stream-watch.ts';
import type { ResponsePlace } from '../../wires/openai-responses/failure.ts';
import { followResponse, writeFailure } from '../../wires/openai-responses/failure.ts';
import type { ClientWire, JsonObject, WireError } from '../../wires/pivot.ts';
import { writeSse } from '../../wires/sse.ts';
import { anthropic, openAiChat, openAiResponses } from '../../wires/wires.ts';

/** A path that asks a model. */
export type ModelRoute = {
  kind: 'chat' | 'responses' | 'messages' | 'embeddings' | 'count';
  /** Whose upstreams speak it as it is. */
  native: 'openai' | 'anthropic';
  /** Behind the provider's base URL. */
  upstreamPath: string;
  client: ClientWire;
  /** Undefined: answers are not kept. */
  cached: CachedWire | undefined;
  /** What to look for in a stream of it. */
  marks: StreamMarks;
  /** An error in the middle of a stream; `place`: of a response, as far as it has come. */
  writeErrorEvent(error: WireError, place: ResponsePlace | undefined): string;
};

const plainError = (client: ClientWire) => (error: WireError) => writeSse(client.writeError(error));
const openAi = { native: 'openai', marks: chatMarks } as const;
const claude = {
  native: 'anthropic',
  marks: anthropicMarks,
  client: anthropic,
  writeErrorEvent: (error: WireError) => writeSse(anthropic.writeError(error), 'error'),
} as const;

/** The paths that ask a model, by their name. */
export const modelRoutes: ReadonlyMap<string, ModelRoute> = new Map<string, ModelRoute>([
  [
    '/v1/chat/completions',
    {
      ...openAi,
      kind: 'chat',
      upstreamPath: '/chat/completions',
      client: openAiChat,
      cached: 'openai-chat',
      writeErrorEvent: plainError(openAiChat),
    },
  ],
  [
    '/v1/responses',
    {
      ...openAi,
      kind: 'responses',
      upstreamPath: '/responses',
      client: openAiResponses,
      cached: 'openai-responses',
      marks: responsesMarks,
      writeErrorEvent: (error, place) => writeFailure(error, place ?? followResponse().place(undefined)),
    },
  ],
  [
    '/v1/embeddings',
    {
      ...openAi,
      kind: 'embeddings',
      upstreamPath: '/embeddings',
      client: openAiChat,
      cached: 'embeddings',
      writeErrorEvent: plainError(openAiChat),
    },
  ],
  ['/v1/messages', { ...claude, kind: 'messages', upstreamPath: '/v1/messages', cached: 'anthropic' }],
  [
    '/v1/messages/count_tokens',
    { ...claude, kind: 'count', upstreamPath: '/v1/messages/count_tokens', cached: undefined },
  ],
]);

/** In whose words a client is told of an error before its path or its body is known. */
export const wireFor = (path: string, headers: JsonObject): ClientWire =>
  modelRoutes.get(path)?.client ?? (headers['anthropic-version'] === undefined ? openAiChat : anthropic);
