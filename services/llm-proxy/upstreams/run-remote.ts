import { Failure, messageOf } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { keepRawAnswer } from '../clients/http/reply.ts';
import type { Call, Parts } from '../model-call.ts';
import type { Run } from '../pipeline/ask.ts';
import { mayHaveCost } from '../pipeline/ask-model.ts';
import { parseObject } from '../wires/read.ts';
import type { Adapter } from './adapter.ts';
import { countSoFar } from './count-said.ts';
import { exchange } from './exchange.ts';
import type { Upstream } from './failures.ts';
import { answered, unreachable } from './failures.ts';
import type { Received } from './receiver.ts';
import { createReceiver } from './receiver.ts';
import { newTold } from './stream-watch.ts';
import type { Remote } from './upstreams.ts';

/** Asks a provider over HTTP. A stream goes to the client as it comes; all else is the caller's to send. */
export function runRemote({ asker }: Parts, call: Call, remote: Remote, adapter: Adapter): Run {
  const { dispatcher, origin, upstream } = remote;
  const { path, headers, body } = adapter;
  return async (signal, marks) => {
    // An attempt before this one may have told something.
    call.told = newTold();
    const receiver = createReceiver(call, adapter, upstream.label, marks);
    const { received } = receiver;
    let broken: Failure | undefined;
    try {
      await exchange(dispatcher, { origin, path, headers, body }, receiver, signal);
    } catch (error) {
      broken = failureOf(error, received, upstream);
    }
    const { channel, status } = received;
    if (status > 0) observe(asker, call, received);
    // As long as the client has got nothing of it, another may still answer.
    if (channel && (received.began || !broken)) {
      const { last, failure } = channel.end(broken);
      const { told } = channel;
      if (failure && (signal.aborted || mayHaveCost(failure))) countSoFar(told);
      // Some tell of the prompt first, which alone is not what it took.
      if (told.ended || told.stopped || told.estimated) marks.took(told.usage);
      received.deliver(last);
      call.response.end();
      if (failure) throw failure;
      const { whole, ended } = told;
      const type = received.headers['content-type'] ?? 'text/event-stream';
      return { body: received.bytes(), type, keep: whole && ended };
    }
    if (broken) throw broken;
    if (status !== 200) throw refusal(call, upstream, adapter, received);
    const { body: answer, told } = adapter.readWhole(received.bytes());
    call.told = told;
    marks.took(told.usage);
    return { body: answer, type: 'application/json', keep: told.whole && !told.failure };
  };
}

function observe({ limits }: Parts['asker'], { target }: Call, { status, headers }: Received): void {
  const read = (name: string) => {
    const value = headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  if (target) limits.observe(target.endpoint.name, target.id, status, read);
}

function failureOf(error: unknown, { status }: Received, upstream: Upstream): Failure {
  if (error instanceof Failure) return error;
  if (status === 0) return unreachable(upstream, error);
  const reason = clip(scrub(messageOf(error)), 200);
  return new Failure('upstream', `the answer of ${upstream.label} was cut off: ${reason}`);
}

/** The failure that another status than 200 is. */
function refusal(
  call: Call,
  upstream: Upstream,
  { speaksAlike }: Adapter,
  { status, headers, bytes }: Received,
): Failure {
  const text = scrub(bytes().toString());
  const given = new Headers();
  for (const name of ['retry-after', 'retry-after-ms', 'x-should-retry']) {
    const value = headers[name];
    if (typeof value === 'string') given.set(name, value);
  }
  const error = Object.assign(new Error(clip(text, 300)), { status, headers: given, error: parseObject(text) });
  const failure = answered(upstream, error) ?? new Failure('upstream', `${upstream.label} answered ${status}`);
  if (speaksAlike && status >= 400) keepRawAnswer(failure, { status, body: text, headers: call.answered });
  return failure;
}
