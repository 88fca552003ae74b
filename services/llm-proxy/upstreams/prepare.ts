import { Failure } from '#shared/errors.ts';
import { capOutput } from '../clients/http/output-limit.ts';
import type { Call, Parts } from '../model-call.ts';
import { unaskedOutput } from '../models/output.ts';
import type { Target } from '../models/target.ts';
import type { Run } from '../pipeline/ask.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { rewriteFields } from '../wires/rewrite.ts';
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
  const rewriteRaw = (next: JsonObject) => {
    if (!read) return write(next);
    memory.grow(textBytes);
    return rewriteFields(raw, read, next);
  };
  const adapter = native
    ? createPassing({
        ...{ route, remote, body, model, raw, stream, write: rewriteRaw },
        versions: versionsOf(call),
        query: route.native === 'anthropic' && call.query === '?beta=true' ? call.query : '',
        rewrite: rewrite || parts.models.rules().length > 1,
        outputMax: unaskedOutput(call, target),
      })
    : createTranslating({
        ...{ route, remote, body, target, write, keep: call.keepResponse },
        maxTokensDefault: unaskedOutput(call, target) ?? parts.maxOutputTokens,
      });
  return runRemote(parts, call, remote, adapter);
}

/** The headers that choose among versions of the wire. */
export function versionsOf({ route, headers }: Call): Record<string, string> {
  if (route.native !== 'anthropic') return {};
  const version = headers['anthropic-version'];
  const beta = headers['anthropic-beta'];
  return {
    'anthropic-version': typeof version === 'string' ? version : anthropicVersion,
    ...(beta === undefined ? {} : { 'anthropic-beta': String(beta) }),
  };
}
