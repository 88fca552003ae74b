import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Bus } from '#shared/bus/bus.ts';
import type { CallFacts, ChatRequest } from '#shared/contracts/llm.ts';
import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import type { Answers, Found } from './cache/answers.ts';
import type { Made } from './cache/entry.ts';
import type { CachedWire } from './cache/key.ts';
import type { How } from './cache/wants.ts';
import type { Held, Memory } from './clients/http/memory.ts';
import type { Marks } from './failover/attempt.ts';
import type { Key } from './keys/keyring.ts';
import type { Keys } from './keys/keys.ts';
import type { Models, Target } from './models/target.ts';
import type { Asker, Question } from './pipeline/ask-model.ts';
import type { KeptResponses } from './responses/kept-responses.ts';
import type { Told } from './stream-facts.ts';
import type { StreamMarks } from './upstreams/stream-watch.ts';
import type { Upstreams } from './upstreams/upstreams.ts';
import type { ResponsePlace } from './wires/openai-responses/failure.ts';
import type { ClientWire, JsonObject, ProviderWireName, WireError } from './wires/pivot.ts';

/** What calls share. */
export type Parts = {
  bus: Bus;
  writer: Writer;
  logger: Logger;
  keys: Keys;
  models: Models;
  upstreams: Upstreams;
  asker: Asker;
  answers: Answers | undefined;
  responses: KeptResponses;
  count: Count;
  memory: Memory;
  /** Where neither the client nor models.toml says how much an answer may have. */
  maxOutputTokens: number;
  /** What clients may ask for at most. */
  outputCeiling: number;
  /** LLM_CLIENT_QUEUE_TIMEOUT, in milliseconds. */
  clientWaitMs: number;
  /** LLM_REQUEST_TIMEOUT. */
  requestMs: number;
  /** LLM_DEBUG. */
  debug: boolean;
  /** Events of the ledger that are still being written. */
  pending: Set<Promise<void>>;
};

/** What a call is for, in OpenTelemetry's words where it has one. */
export type Operation = 'chat' | 'embeddings' | 'count_tokens';

/** How a call ended; `cancelled`: who had asked was gone before. `target`: who was asked last, or would have been. */
export type End = {
  facts: CallFacts;
  target: Target | undefined;
  reached: boolean;
  failure?: unknown;
  cancelled?: boolean;
};
export type Count = (outcome: End, operation: Operation) => void;

/** Makes the call at one target. */
export type Run = (signal: AbortSignal, marks: Marks) => Promise<Made>;

/** What became of a call so far. */
export type CallState = {
  beganMs: number;
  /** Whom to ask, in this order. */
  targets: readonly Target[];
  /** Who is asked, or was last. */
  target: Target | undefined;
  cache: CallFacts['cache'];
  /** Whether the answer's bytes are wanted once it has gone out. */
  collect: boolean;
  reached: boolean;
  recorded: boolean;
  /** As they are in the ledger. */
  facts?: CallFacts;
  told: Told;
};

/** A call as the pipeline takes it, whoever brings it: with what is its client's to say. */
export type AnyCall = CallState & {
  /** As the client named it. */
  model: string;
  operation: Operation;
  /** Aborted when nobody waits for it any more, or when the service must stop. */
  signal: AbortSignal;
  /** Who pays, and for what, in the ledger. */
  payer: Pick<ChatRequest, 'key' | 'agentId' | 'runId' | 'trace' | 'workstream'>;
  /** Whether its answer waits until it is in the ledger. */
  isLedgerFirst: boolean;
  /** Who asks, for limits, and how much it may take. */
  asking: Omit<Question, 'targets' | 'signal' | 'cannot' | 'recorded'>;
  /** Where it stands in the cache, and what it wants of it; undefined: nothing. */
  cached(): { key: string; how: How } | undefined;
  /** What must be done to have it answered by a target. Throws `invalid` where it cannot. */
  prepare(target: Target): Run;
  /** Takes what an answer tells that somebody else paid for. False: it is none that this call can have. */
  tell(found: Found): boolean;
  /** Called when its own making of an answer begins and ends, which others may wait for when it is gone. */
  share?(): void;
  give?(): void;
  /** LLM_DEBUG. */
  log?(facts: CallFacts, failure: unknown): void;
};

/** A path that asks a model. */
export type ModelRoute = {
  kind: 'chat' | 'responses' | 'messages' | 'embeddings' | 'count';
  /** Whose upstreams speak it as it is. */
  native: ProviderWireName;
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

/** One call of a client's over HTTP. */
export type Call = AnyCall & {
  id: string;
  route: ModelRoute;
  key: Key;
  headers: IncomingHttpHeaders;
  query: string;
  raw: Buffer;
  /** What `raw` takes as a text. */
  textBytes: number;
  /** What we have read of `raw`, held to LLM_MAX_OUTPUT_TOKENS. */
  body: JsonObject;
  /** Takes each response that is written for the client. */
  keepResponse: ((response: JsonObject) => void) | undefined;
  /** What `raw` says, field by field; undefined: it says something twice. */
  read: JsonObject | undefined;
  /** Whether the provider must be sent `body`, and not `raw`. */
  rewrite: boolean;
  /** What the answer may have where the client named no limit, and that of the model is not known. */
  outputDefault: number | undefined;
  /** What each answer may have at most. */
  outputMax: number;
  /** What it holds of LLM_REQUESTS_MEMORY. */
  memory: Held;
  stream: boolean;
  response: ServerResponse;
  /** Aborted when the client has left, or when the service must stop. */
  over: AbortController;
  /** Of the provider's answer, those that the client gets. */
  answered: OutgoingHttpHeaders;
};

/** One call over toka.llm.chat. */
export type ContractCall = AnyCall & {
  request: ChatRequest;
  /** What the answer may have at most, in tokens. */
  outputMax(target: Target): number;
  /** Hears of the text while it comes. */
  onText: ((text: string) => void) | undefined;
};
