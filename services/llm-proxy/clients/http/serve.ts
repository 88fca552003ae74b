import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import type { Found } from '../../cache/answers.ts';
import { httpCacheKey, placesOf } from '../../cache/key.ts';
import { isSelfContained } from '../../cache/self-contained.ts';
import type { How } from '../../cache/wants.ts';
import { wantsCache } from '../../cache/wants.ts';
import type { Key } from '../../keys/keyring.ts';
import { reachable } from '../../keys/reachable.ts';
import type { Call, Parts } from '../../model-call.ts';
import type { Target } from '../../models/target.ts';
import { ask, firstAble } from '../../pipeline/ask.ts';
import { clientLeft } from '../../pipeline/client-left.ts';
import { recordCall } from '../../pipeline/record-call.ts';
import { prepare, versionsOf } from '../../upstreams/prepare.ts';
import type { Told } from '../../upstreams/stream-watch.ts';
import { createTally, newTold, readTold } from '../../upstreams/stream-watch.ts';
import type { JsonObject } from '../../wires/pivot.ts';
import { parseObject } from '../../wires/read.ts';
import { checkSpelling } from './known-names.ts';
import type { Held } from './memory.ts';
import { bytesPerByte } from './memory.ts';
import { boundOutput, limitNames } from './output-limit.ts';
import { lengthOf, readBody } from './read-body.ts';
import { send } from './reply.ts';
import type { ModelRoute } from './routes.ts';
import { scanJson } from './scan-json.ts';
import { checkStateless } from './stateless.ts';

const modelCharsMax = 200;
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
  const leave = () => {
    if (!response.writableFinished) call.over.abort(clientLeft);
  };
  response.on('close', leave);
  calls.add(call);
  try {
    await answer(parts, call);
  } catch (thrown) {
    if (!call.recorded && !isUnderWay(call)) await recordCall(parts, call, thrown);
    throw thrown;
  } finally {
    calls.delete(call);
    response.off('close', leave);
  }
}

/** Its call to the provider goes on for others who wait for it, and is recorded when it ends. */
const isUnderWay = ({ reached }: Call) => reached;

async function openCall(parts: Parts, asked: Asked, memory: Held, response: ServerResponse): Promise<Call> {
  const { id, route, key, query, incoming } = asked;
  const raw = await readBody(incoming, memory, parts.requestMs);
  const beganMs = performance.now();
  const { body, textBytes, isAmbiguous } = readRequest(raw, memory);
  const model = modelOf(body, key);
  const output = boundOutput(route.kind, body, parts.maxOutputTokens);
  if (output.isLowered) response.setHeader('x-toka-max-output-tokens', output.tokens);
  return {
    ...{ id, beganMs, route, key, query, raw, textBytes, model, memory, response },
    body: output.body,
    // What a key may do is judged by what we read of the body: the provider must read no other.
    rewrite: isAmbiguous || output.isLowered || key.models.length > 0 || key.rules.length > 0,
    outputDefault: output.isUnnamed ? output.tokens : undefined,
    headers: incoming.headers,
    stream: body.stream === true && route.kind !== 'embeddings' && route.kind !== 'count',
    targets: reachable(parts.models, key, model),
    target: undefined,
    over: new AbortController(),
    cache: 'bypass',
    collect: false,
    reached: false,
    recorded: false,
    told: newTold(),
    answered: {},
  };
}

type Read = { body: JsonObject; textBytes: number; isAmbiguous: boolean };

/** A body that is safe to go on with: not more than its memory, with no name that providers may read otherwise, and of nothing that they keep. */
function readRequest(raw: Buffer, memory: Held): Read {
  const { structureBytes, isAmbiguous } = scanJson(raw, structureBytesMax);
  const text = raw.toString();
  // Where one letter needs two bytes in memory, each has them: as long as it is all ASCII, there are as many letters as bytes.
  const textBytes = text.length === raw.length ? text.length : 2 * text.length;
  memory.grow(structureBytes + 2 * Math.max(0, textBytes - raw.length));
  const body = parseObject(text);
  if (!body) throw new Failure('invalid', 'the body must be a JSON object');
  checkSpelling(body, spelled);
  checkStateless(body);
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

async function answer(parts: Parts, call: Call): Promise<void> {
  const how = howOf(parts, call);
  const question = how && { how, key: cacheKeyOf(call) };
  const near = question && parts.answers?.peek(question.key, how);
  if (near) return sendFound(parts, call, near);
  // What nobody can answer is the client's mistake, and is told before anyone is asked.
  const first = firstAble(call.targets, (target) => prepare(parts, call, target));
  const runFor = (target: Target) => (target === first.target ? first.run : prepare(parts, call, target));
  if (!question || !parts.answers) {
    const { body, type } = await ask(parts, call, runFor, call.over.signal);
    return send(call.response, 200, body, { ...call.answered, 'content-type': type, 'x-toka-cache': call.cache });
  }
  call.collect = true;
  call.cache = how.read ? 'miss' : 'bypass';
  const make = async (signal: AbortSignal) => {
    // For others who wait it may go on after its own client has left.
    call.memory.share();
    try {
      const made = await ask(parts, call, runFor, signal);
      // What only a fallback said is not what will be said once the model is back.
      return { ...made, keep: made.keep && call.target?.id === first.target.id };
    } finally {
      call.memory.give();
    }
  };
  return sendFound(parts, call, await parts.answers.get(question.key, how, make, call.over.signal));
}

/** What this request wants of the cache; undefined: nothing. */
function howOf({ answers }: Parts, { route, headers, body }: Call): How | undefined {
  if (!route.cached) return undefined;
  const tokaCache = headers['x-toka-cache'];
  const how = wantsCache({
    temperature: body.temperature,
    cacheControl: headers['cache-control'],
    tokaCache: Array.isArray(tokaCache) ? tokaCache[0] : tokaCache,
  });
  const isWanted = answers && (how.read || how.write) && isSelfContained(route.cached, body);
  return isWanted ? how : undefined;
}

function cacheKeyOf(call: Call): string {
  const { key, route, targets, body, query, outputDefault } = call;
  return httpCacheKey({
    namespace: key.id,
    wire: route.cached ?? 'openai-chat',
    model: placesOf(targets),
    body,
    versionHeaders: { ...versionsOf(call), query, 'max-output-tokens': outputDefault?.toString() },
  });
}

/** Sends an answer that was kept, that another call brought, or that this one did and could not send while it came. */
async function sendFound(parts: Parts, call: Call, found: Found): Promise<void> {
  const { body, type, cache, ageS } = found;
  const age = cache === 'hit' ? { age: String(ageS) } : {};
  send(call.response, 200, body, { ...call.answered, 'content-type': type, 'x-toka-cache': cache, ...age });
  if (call.recorded) return;
  call.cache = cache;
  tell(call, body, type);
  await recordCall(parts, call);
}

/** What answers that are at hand told, by their bytes: they are given again and again. */
const toldBy = new WeakMap<Buffer, Told>();

/** What an answer that somebody else paid for told of itself. */
function tell(call: Call, body: Buffer, type: string): void {
  const known = toldBy.get(body);
  if (known) {
    call.told = known;
    return;
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
}
