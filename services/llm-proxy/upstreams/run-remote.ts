import { Failure, messageOf } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { mayHaveCost } from '../failover/verdict.ts';
import type { Call, Parts, Run } from '../model-call.ts';
import type { Upstream } from '../models/target.ts';
import { newTold } from '../stream-facts.ts';
import { keepProviderError, providerErrorOf, toWireError } from '../wires/errors.ts';
import { parseObject } from '../wires/read.ts';
import type { Adapter } from './adapter.ts';
import { countSoFar } from './count-said.ts';
import { exchange } from './exchange.ts';
import { answered, failureOfProvider, unreachable } from './failures.ts';
import { keepRawAnswer } from './raw-answer.ts';
import type { Received } from './receiver.ts';
import { createReceiver } from './receiver.ts';
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
      // Whoever goes once the answer is at its end has had it all.
      const isHeard = call.response.destroyed && received.channel?.told.ended;
      if (!isHeard) broken = failureOf(error, received, upstream);
    }
    const { channel, status } = received;
    if (status > 0) observe(asker, call, received);
    // As long as the client has got nothing of it, another may still answer.
    if (channel) {
      const { last, failure: fault, isTorn } = channel.end(broken);
      const { told } = channel;
      const isUnseen = fault !== undefined && !received.began();
      const failure = isUnseen ? refusalAtFirst(call, upstream, adapter, received, fault) : fault;
      if (failure && (signal.aborted || mayHaveCost(failure, told.saidBytes))) countSoFar(told);
      if (told.saidBytes > 0) marks.said();
      // Some tell of the prompt first, which alone is not what it took.
      if (told.ended || told.stopped || told.estimated) marks.took(told.usage);
      if (isUnseen) throw failure;
      received.finish(last);
      if (!isTorn) call.response.end();
      if (failure) throw failure;
      const { whole, ended } = told;
      const type = received.headers['content-type'] ?? 'text/event-stream';
      return { body: received.bytes(), type, keep: whole && ended };
    }
    if (broken) throw broken;
    if (status !== 200) throw refusal(call, upstream, adapter, received);
    const { body: answer, told } = readWhole(adapter, received, upstream);
    call.told = told;
    marks.took(told.usage);
    return { body: answer, type: 'application/json', keep: told.whole && !told.failure };
  };
}

/** What nests so deep that it cannot be written again is no fault of ours. */
function readWhole(adapter: Adapter, { bytes }: Received, { label }: Upstream): ReturnType<Adapter['readWhole']> {
  try {
    return adapter.readWhole(bytes());
  } catch (thrown) {
    if (thrown instanceof RangeError)
      throw new Failure('upstream', `the answer of ${label} cannot be read: ${thrown.message}`);
    throw thrown;
  }
}

/** To count tokens has limits of its own at Anthropic, and says nothing of those of messages (Token counting, read 2026-11-30). */
function observe({ limits }: Parts['asker'], { target, operation }: Call, { status, headers }: Received): void {
  if (operation === 'count_tokens') return;
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
  if (status >= 300 && status < 400) return redirected(upstream, status);
  const error = Object.assign(new Error(clip(text, 300)), {
    ...{ status, headers: retryHeadersOf(headers), error: parseObject(text) },
  });
  const failure = answered(upstream, error) ?? new Failure('upstream', `${upstream.label} answered ${status}`);
  if (speaksAlike && status >= 400) keepRawAnswer(failure, { status, body: text, headers: call.answered });
  return failure;
}

/** An error that was all that a stream had to say, as if its status had said so. */
function refusalAtFirst(call: Call, upstream: Upstream, adapter: Adapter, received: Received, failure: Failure) {
  const error = providerErrorOf(failure);
  if (!error) return failure;
  const made = failureOfProvider(upstream, error, retryHeadersOf(received.headers));
  if (!adapter.speaksAlike) return made;
  const told = call.route.client.writeError({ ...toWireError(made), message: scrub(error.message) });
  const headers = { ...call.answered, 'content-type': 'application/json' };
  keepRawAnswer(made, { status: error.status, body: JSON.stringify(told), headers });
  return made;
}

/** What a provider says of another try. */
function retryHeadersOf(headers: Received['headers']): Headers {
  const given = new Headers();
  for (const name of ['retry-after', 'retry-after-ms', 'x-should-retry']) {
    const value = headers[name];
    if (typeof value === 'string') given.set(name, value);
  }
  return given;
}

/** One that cannot be followed with the request as it is, and its key. Another endpoint may be where it should. */
const redirected = ({ label, urlSetting }: Upstream, status: number): Failure =>
  keepProviderError(
    new Failure(
      'not-found',
      `${label} answered ${status}: it sends the request to another address; check ${urlSetting}`,
    ),
    { status: 502, message: 'a redirect' },
  );
