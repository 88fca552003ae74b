import { Failure } from '#shared/errors.ts';
import { capOutput } from '../clients/http/output-limit.ts';
import type { Call, Parts } from '../model-call.ts';
import { unaskedOutput } from '../models/output.ts';
import type { Target } from '../models/target.ts';
import type { Run } from '../pipeline/ask.ts';
import { isThinkingRefused, withoutThinkingIn } from '../wires/anthropic/thinking-refused.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { rewriteFields } from '../wires/rewrite.ts';
import { choosingHeaders, headersForProvider } from './headers.ts';
import { createPassing } from './passthrough.ts';
import { runTyped } from './run-demo.ts';
import { runRemote } from './run-remote.ts';
import { createTranslating } from './translation.ts';

const anthropicVersion = '2023-06-01';

/** What must be done to have a call answered by a target. Throws `invalid` where it cannot. */
export function prepare(parts: Parts, call: Call, target: Target): Run {
  const { route, raw, read, textBytes, stream, memory } = call;
  const { endpoint, model } = target;
  const body = capOutput(route.kind, call.body, target.maxOutputTokens);
  const rewrite = call.rewrite || body !== call.body;
  const remote = parts.upstreams.remote(endpoint);
  const native = remote?.native === route.native;
  if (!native && (route.kind === 'embeddings' || route.kind === 'count')) {
    const what = route.kind === 'count' ? 'its tokens cannot be counted' : 'it makes no embeddings';
    throw new Failure('invalid', `model: "${call.model}" is of ${endpoint.name}, where ${what}`);
  }
  if (!remote) return runTyped(parts, call, target);
  const write = (value: object) => {
    // Beside its bytes, which are counted, there is the text that they are made of.
    memory.grow(textBytes);
    return Buffer.from(JSON.stringify(value));
  };
  if (!native) {
    const maxTokensDefault = unaskedOutput(call, target) ?? parts.maxOutputTokens;
    const keep = call.keepResponse;
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
  const passing = {
    ...{ route, remote, body, model, raw, stream, write: rewriteRaw },
    passed: { ...headersForProvider(call.headers), ...versionsOf(call) },
    query: route.native === 'anthropic' && call.query === '?beta=true' ? call.query : '',
    rewrite: rewrite || parts.models.rules().length > 1,
    outputMax: unaskedOutput(call, target),
  };
  const run = runRemote(parts, call, remote, createPassing(passing));
  // Whoever answered before may have been another of the targets, which is our doing and not the client's.
  if (call.targets.length === 1) return run;
  return (signal, marks) =>
    run(signal, marks).catch((thrown: unknown) => {
      const plain = isThinkingRefused(thrown) ? withoutThinkingIn(body) : undefined;
      if (!plain) throw thrown;
      return runRemote(parts, call, remote, createPassing({ ...passing, body: plain, rewrite: true }))(signal, marks);
    });
}

/** The headers that choose among versions of the wire, and whatever else of it. */
export const versionsOf = ({ route, headers }: Call): Record<string, string> => ({
  ...(route.native === 'anthropic' ? { 'anthropic-version': anthropicVersion } : {}),
  ...choosingHeaders(headers),
});
