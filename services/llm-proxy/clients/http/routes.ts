import type { ModelRoute } from '../../model-call.ts';
import { anthropicMarks, chatMarks, responsesMarks } from '../../upstreams/stream-watch.ts';
import { followResponse, writeFailure } from '../../wires/openai-responses/failure.ts';
import type { ClientWire, JsonObject, WireError } from '../../wires/pivot.ts';
import { writeSse } from '../../wires/sse.ts';
import { anthropic, openAiChat, openAiResponses } from '../../wires/wires.ts';

const plainError = (client: ClientWire) => (error: WireError) => writeSse(client.writeError(error));
const openAi = { native: openAiChat.provider, marks: chatMarks } as const;
const claude = {
  native: anthropic.provider,
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
      cached: openAiChat.name,
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
      cached: openAiResponses.name,
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
  ['/v1/messages', { ...claude, kind: 'messages', upstreamPath: '/v1/messages', cached: anthropic.name }],
  [
    '/v1/messages/count_tokens',
    { ...claude, kind: 'count', upstreamPath: '/v1/messages/count_tokens', cached: undefined },
  ],
]);

/** In whose words a client is told of an error before its path or its body is known. */
export const wireFor = (path: string, headers: JsonObject): ClientWire =>
  modelRoutes.get(path)?.client ?? (headers['anthropic-version'] === undefined ? openAiChat : anthropic);
