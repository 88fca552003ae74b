import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Bus } from '#shared/bus/bus.ts';
import type { CallFacts } from '#shared/contracts/llm.ts';
import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import type { Answers } from './cache/answers.ts';
import type { Held, Memory } from './clients/http/memory.ts';
import type { ModelRoute } from './clients/http/routes.ts';
import type { Key } from './keys/keyring.ts';
import type { Keys } from './keys/keys.ts';
import type { Models, Target } from './models/target.ts';
import type { Asker } from './pipeline/ask-model.ts';
import type { Count } from './pipeline/record.ts';
import type { Told } from './upstreams/stream-watch.ts';
import type { Upstreams } from './upstreams/upstreams.ts';
import type { JsonObject } from './wires/pivot.ts';

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
  count: Count;
  memory: Memory;
  maxOutputTokens: number;
  /** LLM_CLIENT_QUEUE_TIMEOUT, in milliseconds. */
  clientWaitMs: number;
  /** LLM_REQUEST_TIMEOUT. */
  requestMs: number;
  /** LLM_DEBUG. */
  debug: boolean;
  /** Events of the ledger that are still being written. */
  pending: Set<Promise<void>>;
};

/** One call of a client's, and what became of it so far. */
export type Call = {
  id: string;
  beganMs: number;
  route: ModelRoute;
  key: Key;
  headers: IncomingHttpHeaders;
  query: string;
  raw: Buffer;
  /** What `raw` takes as a text. */
  textBytes: number;
  /** What we have read of `raw`, held to LLM_MAX_OUTPUT_TOKENS. */
  body: JsonObject;
  /** Whether the provider must be sent `body`, and not `raw`. */
  rewrite: boolean;
  /** What the answer may have at most, where the client named no limit. */
  outputDefault: number | undefined;
  /** What it holds of LLM_REQUESTS_MEMORY. */
  memory: Held;
  model: string;
  stream: boolean;
  /** Whom to ask, in this order. */
  targets: readonly Target[];
  /** Who is asked, or was last. */
  target: Target | undefined;
  response: ServerResponse;
  /** Aborted when the client has left, or when the service must stop. */
  over: AbortController;
  cache: CallFacts['cache'];
  /** Whether the answer's bytes are wanted once it has gone out. */
  collect: boolean;
  reached: boolean;
  recorded: boolean;
  told: Told;
  /** Of the provider's answer, those that the client gets. */
  answered: OutgoingHttpHeaders;
};
