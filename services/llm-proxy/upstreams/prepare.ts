import { Failure } from '#shared/errors.ts';
import type { Call, ModelRoute, Parts, Run } from '../model-call.ts';
import { unaskedOutput } from '../models/output.ts';
import type { Traits } from '../models/schema.ts';
import type { Target } from '../models/target.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { rewriteFields } from '../wires/rewrite.ts';
import { headersForProvider } from './headers.ts';
import { capOutput } from './output-limit.ts';
import { createPassing } from './passthrough.ts';
import { runDemo } from './run-demo.ts';
import { runRemote } from './run-remote.ts';
import { createTranslating } from './translation.ts';
import type { Remote } from './upstreams.ts';
import { wayTo } from './upstreams.ts';

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
  const native = remote?.native === route.native && !isRefusedAsChat(remote, route, target.traits, body);
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
    const adapter = createTranslating({ route, remote, body, target, maxTokensDefault, write, keep });
    const run = runRemote(parts, call, remote, adapter);
    return (signal, marks) =>
      run(signal, marks).catch((thrown: unknown) => {
        const plain = adapter.withoutThinking?.(thrown);
        if (!plain) throw thrown;
        return runRemote(parts, call, remote, plain)(signal, marks);
      });
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

/** Whether a chat that passed as it is would be refused, for the model takes it by OpenAI's responses alone. */
function isRefusedAsChat(remote: Remote, { kind, client }: ModelRoute, traits: Traits, body: JsonObject): boolean {
  const { tools, reasoning_effort: effort } = body;
  const isTaken = effort !== undefined && effort === traits.tools_reasoning_effort;
  if (kind !== 'chat' || isTaken) return false;
  return wayTo(remote, traits, Array.isArray(tools) ? tools : []).wire.name !== client.name;
}
