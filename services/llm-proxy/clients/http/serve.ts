import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import type { Found } from '../../cache/answers.ts';
import { httpCacheKey, placesOf } from '../../cache/key.ts';
import { isSelfContained } from '../../cache/self-contained.ts';
import type { How } from '../../cache/wants.ts';
import { wantsCache } from '../../cache/wants.ts';
import type { Key } from '../../keys/keyring.ts';
import { reachable } from '../../keys/reachable.ts';
import type { Call, ModelRoute, Parts } from '../../model-call.ts';
import { answerCall } from '../../pipeline/answer-call.ts';
import { nameOfRequest } from '../../pipeline/ask-model.ts';
import { clientLeft } from '../../pipeline/client-left.ts';
import { logHttpCall } from '../../pipeline/debug.ts';
import type { Told } from '../../stream-facts.ts';
import { newTold, readTold } from '../../stream-facts.ts';
import { choosingHeaders } from '../../upstreams/headers.ts';
import { boundOutput, limitNames } from '../../upstreams/output-limit.ts';
import { prepare } from '../../upstreams/prepare.ts';
import { createTally } from '../../upstreams/stream-watch.ts';
import type { JsonObject } from '../../wires/pivot.ts';
import { parseObject } from '../../wires/read.ts';
import { checkSpelling } from './known-names.ts';
import type { Held } from './memory.ts';
import { bytesPerByte } from './memory.ts';
import { lengthOf, readBody } from './read-body.ts';
import { send } from './reply.ts';
import { scanJson } from './scan-json.ts';
import { sizeAt } from './size.ts';
import { checkStateless } from './stateless.ts';

const modelCharsMax = 200;
const restMsMax = 2_000;
const structureBytesMax = 48 * 1_024 * 1_024;
/** What we judge a request by. */
const spelled: ReadonlySet<string> = new Set([
  ...['model', 'messages', 'input', 'tools', 'stream', 'stream_options', 'n', 'thinking', ...limitNames],
]);

type Asked = { id: string; route: ModelRoute; key: Key; query: string; incoming: IncomingMessage };

/** Answers a request to a model. Throws what is to be told to the client. */
export async function serve(parts: Parts, asked: Asked, response: ServerResponse, calls: Set<Call>): Promise<void> {
  const { key, incoming } = asked;
  const memory = parts.memory.take(key.id, (lengthOf(incoming) ?? 0) * bytesPerByte);
  try {
    await serveCall(parts, await openCall(parts, asked, memory, response), calls);
  } finally {
    giveOnceSent(memory, response, parts.requestMs);
  }
}

/** What a client does not read stays here, and is counted, until it has read it or has had its time. */
function giveOnceSent(memory: Held, response: ServerResponse, timeoutMs: number): void {
  const late = setTimeout(() => response.destroy(), timeoutMs);
  const give = () => {
    clearTimeout(late);
    memory.give();
  };
  if (response.writableFinished || response.destroyed) give();
  else response.once('close', give);
}

async function serveCall(parts: Parts, call: Call, calls: Set<Call>): Promise<void> {
  const { response } = call;
  let late: NodeJS.Timeout | undefined;
  const leave = () => {
    if (response.writableFinished) return;
    // Some go as soon as they have heard the last of an answer. Its few last bytes are read, so that the provider's connection can be used again.
    if (call.told.ended) late = setTimeout(() => call.over.abort(clientLeft), restMsMax);
    else call.over.abort(clientLeft);
  };
  response.on('close', leave);
  calls.add(call);
  try {
    const { body, type, cache, ageS } = await answerCall(parts, call);
    const age = cache === 'hit' ? { age: String(ageS) } : {};
    // A stream has gone out while it came.
    send(response, 200, body, { ...call.answered, 'content-type': type, 'x-toka-cache': cache, ...age });
  } finally {
    calls.delete(call);
    clearTimeout(late);
    response.off('close', leave);
  }
}

async function openCall(parts: Parts, asked: Asked, memory: Held, response: ServerResponse): Promise<Call> {
  const { id, route, key, query, incoming } = asked;
  const bytes = await readBody(incoming, memory, parts.requestMs);
  const beganMs = performance.now();
  const { body: sent, ...read } = readRequest(bytes, memory);
  const grow = (chars: number) => memory.grow(chars * bytesPerByte);
  const body = route.kind === 'responses' ? await parts.responses.resolve(key.id, sent, grow) : sent;
  checkStateless(body);
  // What it refers to is a part of it from here on.
  const raw = body === sent ? bytes : Buffer.from(JSON.stringify(body));
  const { isAmbiguous } = read;
  const textBytes = Math.max(read.textBytes, raw.length);
  const model = modelOf(body, key);
  const output = boundOutput(route.kind, body, parts.outputCeiling);
  if (output.isLowered) response.setHeader('x-toka-max-output-tokens', output.tokens);
  const over = new AbortController();
  const { kind } = route;
  const call: Call = {
    ...{ id, beganMs, route, key, query, raw, textBytes, model, memory, response, over, signal: over.signal },
    body: output.body,
    keepResponse: route.kind === 'responses' ? parts.responses.keeper(key.id, sent, body) : undefined,
    read: isAmbiguous && raw === bytes ? undefined : body,
    // What a key may do is judged by what we read of the body: the provider must read no other.
    rewrite: isAmbiguous || output.isLowered || key.models.length > 0 || key.rules.length > 0,
    outputDefault: output.isUnnamed ? Math.min(parts.maxOutputTokens, output.tokens) : undefined,
    outputMax: output.tokens,
    headers: incoming.headers,
    stream: body.stream === true && route.kind !== 'embeddings' && route.kind !== 'count',
    targets: reachable(parts.models, key, model),
    target: undefined,
    cache: 'bypass',
    collect: false,
    reached: false,
    recorded: false,
    told: newTold(),
    answered: {},
    operation: kind === 'embeddings' ? kind : kind === 'count' ? 'count_tokens' : 'chat',
    payer: { key: key.id, workstream: key.workstream ?? undefined },
    isLedgerFirst: false,
    asking: {
      who: {
        ...{ key: key.id, isClient: true, workstream: key.workstream ?? undefined },
        ...{ priority: 'medium', rules: key.rules, isFree: kind === 'count' },
      },
      waitMs: parts.clientWaitMs,
      ...{ isPatient: false, retriesMade: retriesOf(incoming), request: () => nameOfRequest(key.id, raw) },
      size: (target) => sizeAt(call, target),
    },
    cached: () => cachedOf(call),
    prepare: (target) => prepare(parts, call, target),
    tell: (found) => tell(call, found),
    share: () => memory.share(),
    give: () => memory.give(),
    log: (facts, failure) => logHttpCall(parts.logger, call, facts, failure),
  };
  return call;
}

const retriesCounted = 100;

/** How often a client's SDK has tried by itself: both send `x-stainless-retry-count` (openai 7.57 and @anthropic-ai/sdk 1.12, read 2026-11-30). */
function retriesOf({ headers }: IncomingMessage): number {
  const said = Number(headers['x-stainless-retry-count']);
  return Number.isSafeInteger(said) && said > 0 ? Math.min(said, retriesCounted) : 0;
}

type Read = { body: JsonObject; textBytes: number; isAmbiguous: boolean };

/** A body that is safe to go on with: not more than its memory, and with no name that providers may read otherwise. */
function readRequest(raw: Buffer, memory: Held): Read {
  const { structureBytes, isAmbiguous } = scanJson(raw, structureBytesMax);
  const text = raw.toString();
  // Where one letter needs two bytes in memory, each has them: as long as it is all ASCII, there are as many letters as bytes.
  const textBytes = text.length === raw.length ? text.length : 2 * text.length;
  memory.grow(structureBytes + 2 * Math.max(0, textBytes - raw.length));
  const body = parseObject(text);
  if (!body) throw new Failure('invalid', 'the body must be a JSON object');
  checkSpelling(body, spelled);
  return { body, textBytes, isAmbiguous };
}

function modelOf({ model }: JsonObject, key: Key): string {
  if (typeof model !== 'string' || model === '' || model.length > modelCharsMax) {
    const text = `model: must be a model's name, of at most ${modelCharsMax} characters`;
    throw new Failure('invalid', text, { problems: [{ field: 'model', message: text }] });
  }
  if (!key.allowsModel(model)) throw new Failure('forbidden', `this key may not use the model "${model}"`);
  return model;
}

/** Where it stands in the cache, and what this request wants of that; undefined: nothing. */
function cachedOf(call: Call): { key: string; how: How } | undefined {
  const { route, headers, body } = call;
  if (!route.cached) return undefined;
  const tokaCache = headers['x-toka-cache'];
  const how = wantsCache({
    temperature: body.temperature,
    cacheControl: headers['cache-control'],
    tokaCache: Array.isArray(tokaCache) ? tokaCache[0] : tokaCache,
  });
  const isWanted = (how.read || how.write) && isSelfContained(route.cached, body);
  return isWanted ? { key: cacheKeyOf(call), how } : undefined;
}

function cacheKeyOf(call: Call): string {
  const { key, route, targets, body, query, outputDefault } = call;
  return httpCacheKey({
    namespace: key.id,
    wire: route.cached ?? 'openai-chat',
    model: placesOf(targets),
    body,
    versionHeaders: {
      ...choosingHeaders(call.headers),
      ...route.client.readVersions(call.headers, query).headers,
      query,
      'max-output-tokens': outputDefault?.toString(),
    },
  });
}

/** What answers that are at hand told, by their bytes: they are given again and again. */
const toldBy = new WeakMap<Buffer, Told>();

/** What an answer that somebody else paid for told of itself. */
function tell(call: Call, { body, type }: Found): true {
  const known = toldBy.get(body);
  if (known) {
    call.told = known;
    return true;
  }
  if (type.includes('text/event-stream')) {
    const tally = createTally(call.route.marks, false);
    tally.push(body);
    call.told = tally.told;
  } else {
    const json = parseObject(body.toString());
    if (json) readTold(json, call.told);
  }
  toldBy.set(body, call.told);
  return true;
}
