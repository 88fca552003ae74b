import type { IncomingHttpHeaders } from 'node:http';
import type { Usage } from '#shared/contracts/llm.ts';

export type WireName = 'openai-chat' | 'openai-responses' | 'anthropic';

/** A mark: the provider is to keep the prompt up to here. */
export type CacheMark = { type: 'ephemeral'; ttl?: '5m' | '1h' | undefined };
type Marked = { cache?: CacheMark | undefined };

export type TextPart = Marked & { type: 'text'; text: string };
export const imageTypes = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const;
export type ImageType = (typeof imageTypes)[number];
export type ImagePart = Marked & {
  type: 'image';
  source: { kind: 'base64'; mediaType: ImageType; data: string } | { kind: 'url'; url: string };
};
/** A PDF. `name`: what the client calls it. */
export type FilePart = { type: 'file'; mediaType: 'application/pdf'; data: string; name?: string | undefined };
/** `args` is a JSON text; in a request that of an object, in an answer whatever the model wrote. */
export type CallPart = Marked & { type: 'toolCall'; id: string; name: string; args: string };
export type RefusalPart = { type: 'refusal'; text: string };
/**
 * What a model thought. It goes back as it was, in its place, and only by the wire that it came by to the model that thought it: no other
 * can read it, or would believe it. `signature` is Anthropic's, over the text and all that was said before it; `redacted` is thinking
 * that nobody is shown, in place of a text. Of OpenAI's responses `signature` is the encrypted thinking itself, and `id` its item's.
 */
export type ThinkingPart = {
  type: 'thinking';
  of: WireName;
  /** Whose it is, by the name that its provider was asked for. Undefined: not known; then any model of the wire may have it. */
  model?: string | undefined;
  text: string;
  id?: string | undefined;
  signature?: string | undefined;
  redacted?: string | undefined;
};

export type PivotMessage =
  /** An instruction that came after the conversation had begun. */
  | { role: 'system'; parts: TextPart[] }
  | { role: 'user'; parts: (TextPart | ImagePart | FilePart)[] }
  | { role: 'assistant'; parts: (TextPart | CallPart | ThinkingPart)[] }
  | (Marked & { role: 'tool'; callId: string; parts: (TextPart | ImagePart | FilePart)[]; isError: boolean });

/** What a client of OpenAI's responses calls a tool that is a plain function here, for the way back. */
export type ToolOrigin = { kind: 'function' | 'custom'; name: string; namespace?: string | undefined };

export type PivotTool = Marked & {
  name: string;
  description?: string | undefined;
  /** JSON Schema of its arguments. */
  schema: Record<string, unknown>;
  strict?: boolean | undefined;
  origin?: ToolOrigin | undefined;
};

export const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof efforts)[number];

/** A request to a model in no provider's words. */
export type PivotRequest = {
  /** The wire it came by: what is wrong with it is told in that wire's words. `contract` is our own, toka.llm.chat. */
  wire: WireName | 'contract';
  model: string;
  system: TextPart[];
  messages: PivotMessage[];
  tools: PivotTool[];
  toolChoice: 'auto' | 'none' | 'required' | { name: string };
  /** Undefined: as the provider has it, which is more than one at once. */
  parallelToolCalls: boolean | undefined;
  maxTokens: number | null;
  temperature: number | undefined;
  topP: number | undefined;
  topK: number | undefined;
  stop: string[];
  responseFormat: 'text' | 'json' | { name: string; schema: Record<string, unknown>; strict: boolean };
  reasoningEffort: Effort | undefined;
  verbosity: 'low' | 'medium' | 'high' | undefined;
  /** Whether the client asked for the model's thinking, and wants to read it. */
  thinking?: 'shown' | 'hidden' | undefined;
  stream: boolean;
  /** The client's own wish for the prompt cache as a whole. */
  cache?: CacheMark | undefined;
  /** Whether the client wants its usage at the end of a stream: on OpenAI's chat it has to ask. */
  includeUsage: boolean;
  /** Calls that begin alike have the same, and find what OpenAI keeps of their prompt by it. */
  promptCacheKey?: string | undefined;
};

export type PivotStop = 'end' | 'tool-calls' | 'length' | 'stop-sequence' | 'refusal';

/** What a model said, in no provider's words. */
export type PivotAnswer = {
  id: string;
  model: string;
  parts: (TextPart | CallPart | RefusalPart | ThinkingPart)[];
  stopReason: PivotStop;
  /** The text at which it stopped, where the provider says it. */
  stopSequence?: string | undefined;
  /** Undefined where the provider told none. */
  usage: Usage | undefined;
};

/**
 * One step of a streamed answer. First comes `start`, then what was said, in order: arguments always belong to the call begun
 * last. `begins`: a part of its own, not more of the same kind. `usage` is the whole of it so far and comes before `stop`; the last
 * event is `stop` or `error`.
 */
export type PivotEvent =
  | { type: 'start'; id: string; model: string; usage?: Usage | undefined }
  | { type: 'text'; delta: string; begins?: true | undefined }
  | ThinkingEvent
  | { type: 'refusal'; delta: string }
  | { type: 'toolCallStart'; index: number; id: string; name: string }
  | { type: 'toolCallArgs'; index: number; delta: string }
  | { type: 'usage'; usage: Usage }
  | { type: 'stop'; reason: PivotStop; stopSequence?: string | undefined }
  | { type: 'error'; error: WireError };

/** More of what a model thinks, which is of the wire `of`. A signature comes behind its text, and ends it. */
export type ThinkingEvent = {
  type: 'thinking';
  of: WireName;
  delta: string;
  begins?: true | undefined;
  id?: string | undefined;
  signature?: string | undefined;
  redacted?: string | undefined;
};

/** What a provider said went wrong: its status (or the one that its words stand for), its names for the kind, and its words. */
export type ProviderError = {
  status: number;
  type?: string | undefined;
  code?: string | undefined;
  param?: string | undefined;
  message: string;
};

/** An error as a wire tells it. `status` is an HTTP status; `code` a short name such as `limited`. */
export type WireError = {
  status: number;
  code: string;
  message: string;
  problems?: { field: string }[] | undefined;
  /** What the provider said, where it was the provider. */
  provider?: ProviderError | undefined;
};

/** One event of an event stream, as `sse.ts` parses it. */
export type SseEvent = { event?: string | undefined; data: string };

/**
 * What an answer is written for. `createdS`: epoch seconds; `model`: the name that its provider was asked for. `keep` takes the response of OpenAI's
 * responses once it is whole.
 */
export type Reply = {
  request: PivotRequest;
  createdS: number;
  model?: string | undefined;
  keep?: ((response: JsonObject) => void) | undefined;
};

/** Writes the event stream that a client reads; every call gives the text to send, which may be empty. */
export type EventWriter = {
  write(event: PivotEvent): string;
  /** Nothing more comes: an error if the answer was not at its end. */
  end(): string;
};

/** Reads a provider's event stream. Never throws: what cannot be read is an `error` event, and nothing comes after it. */
export type EventReader = {
  read(event: SseEvent): PivotEvent[];
  /** Nothing more comes: an `error` event if the answer was not at its end. */
  end(): PivotEvent[];
};

/** What a model takes, as models.toml says it, as far as the wires need to know. */
export type ModelTraits = {
  efforts?: readonly Effort[] | undefined;
  no_thinking?: 'disabled' | 'between_tools' | 'none' | undefined;
  system_messages?: boolean | undefined;
  pdf?: boolean | undefined;
  tools_reasoning_effort?: Effort | undefined;
  responses_only?: 'tools' | 'all' | undefined;
  call_ids?: 'any' | 'nine' | undefined;
};

/** `tokenLimitName` is for OpenAI's chat: its newer models refuse the old name, other servers do not know the new one. */
export type WriteOptions = {
  model: string;
  /** Where the client set none and the wire needs one. */
  maxTokensDefault: number;
  tokenLimitName?: 'max_tokens' | 'max_completion_tokens' | undefined;
  /** Whether it goes to the wire's own provider, and not to a server that speaks alike and may not know the latest fields. */
  official?: boolean | undefined;
  /** Without them the model is believed to take what all of its wire take. */
  traits?: ModelTraits | undefined;
};

export type JsonObject = Record<string, unknown>;

/** Whose wires a provider speaks: those of one of the two speak to the same endpoints. */
export type ProviderWireName = 'anthropic' | 'openai';

/** What a client says of versions of its wire: headers, and what stands behind the path with its question mark. */
export type Versions = { headers: Record<string, string>; query: string };

/** A key, and whether it goes to the wire's own provider. */
export type Credentials = { key: string; official: boolean };

/** Sends the body of a request for a stream. Throws its SDK's error for any other status than one of success. */
export type Transport = (body: Buffer, signal: AbortSignal) => Promise<Response>;
export type OpenTransport = (options: { baseUrl: string; timeoutMs: number; fetch: typeof fetch }) => Transport;

/** A wire as clients speak it. */
export type ClientWire = {
  name: WireName;
  provider: ProviderWireName;
  /** Where its clients look for the id of a request. */
  requestIdHeader: 'x-request-id' | 'request-id';
  /** What goes through to a provider that speaks it, too. */
  readVersions(headers: IncomingHttpHeaders, query: string): Versions;
  /** The body without what only another wire's model can read; undefined: it has nothing of the kind. */
  withoutForeign?(raw: Buffer, body: JsonObject): JsonObject | undefined;
  /** Throws `invalid` with a problem for each field that no other wire can carry. */
  readRequest(body: JsonObject): PivotRequest;
  writeAnswer(answer: PivotAnswer, reply: Reply): JsonObject;
  createEventWriter(reply: Reply): EventWriter;
  writeError(error: WireError): JsonObject;
};

/** A wire as providers speak it. */
export type UpstreamWire = {
  name: WireName;
  toolNameCharsMax: number;
  provider: ProviderWireName;
  /** Behind the endpoint's base URL. */
  path: string;
  credentialHeaders(credentials: Credentials): Record<string, string>;
  /** For a body that we have written. */
  versionHeaders: Record<string, string>;
  openTransport: OpenTransport;
  /** Throws `invalid` with a problem for each field that this wire cannot carry. */
  writeRequest(request: PivotRequest, options: WriteOptions): JsonObject;
  /** Throws `upstream` where it is no answer. */
  readAnswer(body: unknown): PivotAnswer;
  createEventReader(): EventReader;
  /** Of a wire whose providers bind thinking to whom it was given, and refuse it elsewhere. */
  boundThinking?: {
    /** To all that came before it, too. */
    toPrefix?: true;
    /** Whether a request was refused for the thinking in it: without it, it may be taken. */
    isRefused(thrown: unknown): boolean;
    /** A body of it without any thinking; undefined where there is none in it. */
    leaveOut(body: JsonObject): JsonObject | undefined;
  };
};
