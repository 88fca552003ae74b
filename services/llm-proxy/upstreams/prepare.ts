import { Failure } from '#shared/errors.ts';
import type { Call, Parts, Run } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { rewriteFields } from '../wires/rewrite.ts';
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
  const rewrite = call.rewrite || body !== call.body;
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
  const rewriteRaw = (next: JsonObject) => {
    if (!read) return write(next);
    memory.grow(textBytes);
    return rewriteFields(raw, read, next);
  };
  const versions = route.client.readVersions(call.headers, call.query);
  const adapter = native
    ? createPassing({
        ...{ route, remote, body, model, raw, stream, write: rewriteRaw },
        versions: versions.headers,
        query: versions.query,
        rewrite: rewrite || parts.models.rules().length > 1,
        outputMax: outputMaxOf(call, target),
      })
    : createTranslating({ route, remote, body, target, maxTokensDefault: maxTokensOf(parts, target), write });
  return runRemote(parts, call, remote, adapter);
}

/** Where the client named none. */
const outputMaxOf = ({ outputDefault }: Call, { maxOutputTokens }: Target) =>
  outputDefault === undefined ? undefined : Math.min(outputDefault, maxOutputTokens ?? outputDefault);

const maxTokensOf = ({ maxOutputTokens }: Parts, target: Target) =>
  Math.min(maxOutputTokens, target.maxOutputTokens ?? maxOutputTokens);
