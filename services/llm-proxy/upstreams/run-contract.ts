import type { ChatRequest } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Marks } from '../failover/attempt.ts';
import { mayHaveCost } from '../failover/verdict.ts';
import type { ContractCall, Parts, Run } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import { clipModel, newTold } from '../stream-facts.ts';
import { estimate } from '../tokens.ts';
import { bindThinking, hasThinking, withoutThinking } from '../wires/contract/bound-thinking.ts';
import { encodeEntry } from '../wires/contract/entry.ts';
import { readRequest } from '../wires/contract/read-request.ts';
import type { Origin } from '../wires/contract/reasoning.ts';
import { eventsOf } from '../wires/contract/wire.ts';
import type { Completion } from '../wires/contract/write-answer.ts';
import { createAnswerWriter } from '../wires/contract/write-answer.ts';
import { fitToModel } from '../wires/fit-to-model.ts';
import type { JsonObject, PivotEvent, UpstreamWire } from '../wires/pivot.ts';
import { parseObject } from '../wires/read.ts';
import { createSseParser } from '../wires/sse.ts';
import { countSoFar } from './count-said.ts';
import { complete } from './demo.ts';
import { callUpstream } from './failures.ts';
import { note } from './translation.ts';
import type { Remote } from './upstreams.ts';
import { wayTo } from './upstreams.ts';

/** Answers a call of our own contract: its request is written, and the answer read, as a client's is; only the way there is an SDK's. */
export function runContract(parts: Parts, call: ContractCall, target: Target): Run {
  const remote = parts.upstreams.remote(target.endpoint);
  const make = remote ? askRemote(parts, call, target, remote) : askDemo(call, target);
  return async (signal, marks) => {
    // An attempt before this one may have told something.
    call.told = newTold();
    const made = await make(signal, marks);
    const { answer, usage } = made;
    const model = clipModel(made.model);
    const { told } = call;
    Object.assign(told, { model, usage, ended: true });
    if (!usage) Object.assign(told, { usage: estimate(call.request, answer), estimated: true, guessed: true });
    marks.took(told.usage);
    const entry = { answer, usage: told.usage, model, provider: target.endpoint.name };
    return { ...encodeEntry(entry), keep: isWhole(call, answer) };
  };
}

type Make = (signal: AbortSignal, marks: Marks) => Promise<Completion>;

/** What marks hear of the text, and the caller behind them. */
function hearing({ onText }: ContractCall, marks: Marks): ((text: string) => void) | undefined {
  return (
    onText &&
    ((text) => {
      marks.sent();
      onText(text);
    })
  );
}

const askDemo =
  (call: ContractCall, target: Target): Make =>
  async (_, marks) =>
    complete(call.request, call.outputMax(target), hearing(call, marks));

function askRemote({ asker }: Parts, call: ContractCall, target: Target, remote: Remote): Make {
  const { upstream, official, tokenLimitName } = remote;
  const { endpoint, model } = target;
  const { wire, send, traits } = wayTo(remote, target.traits, call.request.tools);
  const maxTokensDefault = call.outputMax(target);
  const options = { model, maxTokensDefault, tokenLimitName, official, traits };
  const write = (request: ChatRequest) => {
    const fitted = fitToModel(readRequest(request, maxTokensDefault), traits);
    return wire.writeRequest(fitted, options);
  };
  const bound = wire.boundThinking?.toPrefix && bindThinking(call.request, { model, endpoint: endpoint.name });
  const body = write({ ...call.request, ...(bound && { messages: bound.messages }) });
  const ask = async (body: JsonObject, origin: Origin, signal: AbortSignal, marks: Marks) => {
    const { told } = call;
    const bytes = Buffer.from(JSON.stringify(body));
    const writer = createAnswerWriter({ label: upstream.label, origin, onText: hearing(call, marks) });
    const open = async () => {
      const response = await send(bytes, signal);
      return { data: eventsIn(response, wire, marks.piece), response };
    };
    const onBegin = (status: number, headers: Headers) => {
      if (status === 200) marks.began();
      asker.limits.observe(endpoint.name, target.id, status, (name) => headers.get(name) ?? undefined);
    };
    const read = async (events: AsyncIterable<PivotEvent>) => {
      for await (const event of events) {
        note(event, told);
        writer.write(event);
      }
    };
    try {
      await callUpstream(upstream, signal, open, onBegin, read);
    } catch (thrown) {
      if (signal.aborted || mayHaveCost(thrown, told.saidBytes)) countSoFar(told);
      if (told.saidBytes > 0) marks.said();
      if (told.estimated) marks.took(told.usage);
      throw thrown;
    }
    return writer.completion();
  };
  return (signal, marks) =>
    ask(body, bound?.binding ?? { model }, signal, marks).catch((thrown: unknown) => {
      if (!wire.boundThinking?.isRefused(thrown)) throw thrown;
      if (bound && hasThinking(bound)) {
        const { messages, binding } = withoutThinking(bound);
        return ask(write({ ...call.request, messages }), binding, signal, marks);
      }
      const plain = bound ? undefined : wire.boundThinking.leaveOut(body);
      if (!plain) throw thrown;
      return ask(plain, { model }, signal, marks);
    });
}

const wholeBytesMax = 32 * 1_024 * 1_024;

/** The events of an answer. Not every server streams because it was asked to. */
async function* eventsIn(response: Response, wire: UpstreamWire, onPiece: () => void): AsyncGenerator<PivotEvent> {
  const bytes = bytesOf(response);
  if (response.headers.get('content-type')?.includes('application/json')) {
    const text = await textOf(bytes);
    const whole = text.trim() === '' ? undefined : parseObject(text);
    if (whole) return yield* eventsOf(wire.readAnswer(whole));
    return yield* eventsOfStream([Buffer.from(text)], wire, onPiece);
  }
  yield* eventsOfStream(bytes, wire, onPiece);
}

async function* eventsOfStream(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  wire: UpstreamWire,
  onPiece: () => void,
): AsyncGenerator<PivotEvent> {
  const parser = createSseParser();
  const reader = wire.createEventReader();
  for await (const chunk of bytes) {
    // Whatever is in it: a ping, too, shows that the answer goes on.
    onPiece();
    for (const event of parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) {
      yield* reader.read(event);
    }
  }
  yield* reader.end();
}

async function* bytesOf({ body }: Response): AsyncGenerator<Uint8Array> {
  if (body) yield* body;
}

async function textOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bytes) {
    size += part.length;
    if (size > wholeBytesMax) throw new Failure('upstream', `the answer is longer than ${wholeBytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

/** Only a finished answer that is what was asked for is worth giving again. */
function isWhole({ request: { toolChoice } }: ContractCall, { stopReason, toolCalls }: Completion['answer']): boolean {
  if (stopReason !== 'end' && stopReason !== 'tool-calls') return false;
  return toolChoice === 'auto' || toolCalls.some(({ tool }) => tool === toolChoice.name);
}
