import { Failure } from '#shared/errors.ts';
import type { Call, Parts, Run } from '../model-call.ts';
import { unaskedOutput } from '../models/output.ts';
import type { Target } from '../models/target.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { rewriteFields } from '../wires/rewrite.ts';
import { headersForProvider } from './headers.ts';
import { capOutput } from './output-limit.ts';
import { createPassing } from './passthrough.ts';
import { runDemo } from './run-demo.ts';
import { runRemote } from './run-remote.ts';
import { createTranslating } from './translation.ts';

/** What must be done to have a call answered by a target. Throws `invalid` where it cannot. */
export function prepare(parts: Parts, call: Call, target: Target): Run {
  const { route, raw, read, textBytes, stream, memory } = call;
  const { endpoint, model } = target;
  const body = capOutput(route.kind, call.body, target.maxOutputTokens);
  const isLowered = body !== call.body;
  const rewrite = call.rewrite || isLowered;
  if (isLowered && !call.response.headersSent)
    call.response.setHeader('x-toka-max-output-tokens', String(target.maxOutputTokens));
  const remote = parts.upstreams.remote(endpoint);
  const native = remote?.native === route.native;
  if (!native && (route.kind === 'embeddings' || route.kind === 'count')) {
    const what = route.kind === 'count' ? 'its tokens cannot be counted' : 'it makes no embeddings';
    throw new Failure('invalid', `model: "${call.model}" is of ${endpoint.name}, where ${what}`);
  }
  if (!remote) return runDemo(parts, call);
  const write = (value: object) => {
    // Beside its bytes, which are counted, there is the text that they are made of.
    memory.grow(textBytes);
    return Buffer.from(JSON.stringify(value));
  };
  const keep = call.keepResponse;
  if (!native) {
    const maxTokensDefault = unaskedOutput(call, target) ?? parts.maxOutputTokens;
    return runRemote(
      parts,
      call,
      remote,
      createTranslating({ route, remote, body, target, maxTokensDefault, write, keep }),
    );
  }
  const rewriteRaw = (next: JsonObject) => {
    if (!read) return write(next);
    memory.grow(textBytes);
    return rewriteFields(raw, read, next);
  };
  const versions = route.client.readVersions(call.headers, call.query);
  const passing = {
    ...{ route, remote, body, model, raw, stream, keep, write: rewriteRaw },
    passed: { ...headersForProvider(call.headers), ...versions.headers },
    query: versions.query,
    rewrite: rewrite || parts.models.rules().length > 1,
    outputMax: unaskedOutput(call, target),
  };
  const run = runRemote(parts, call, remote, createPassing(passing));
  const { boundThinking } = remote.wire;
  // Whoever answered before may have been another of the targets, which is our doing and not the client's.
  if (!boundThinking || call.targets.length === 1) return run;
  return (signal, marks) =>
    run(signal, marks).catch((thrown: unknown) => {
      const plain = boundThinking.isRefused(thrown) ? boundThinking.leaveOut(body) : undefined;
      if (!plain) throw thrown;
      return runRemote(parts, call, remote, createPassing({ ...passing, body: plain, rewrite: true }))(signal, marks);
    });
}
