import { Failure } from '#shared/errors.ts';
import type { Run } from './ask.ts';
import type { Call, Parts } from './call.ts';
import { createPassing } from './passing.ts';
import { runRemote } from './run-remote.ts';
import { runTyped } from './run-typed.ts';
import { createTranslating } from './translating.ts';

const anthropicVersion = '2023-06-01';

/** What must be done to answer a call. Throws `invalid` where its provider cannot. */
export function prepare(parts: Parts, call: Call): Run {
  const { route, target, body, model, key } = call;
  const { remote } = target;
  const native = remote?.name === route.native;
  if (!native && (route.kind === 'embeddings' || route.kind === 'count')) {
    const what = route.kind === 'count' ? 'its tokens cannot be counted' : 'it makes no embeddings';
    throw new Failure('invalid', `model: "${model}" is of ${target.name}, where ${what}`);
  }
  if (!remote) return runTyped(parts, call);
  const { models, maxOutputTokens: maxTokensDefault } = parts;
  const adapter = native
    ? createPassing({
        ...{ route, remote, body, raw: call.raw, stream: call.stream },
        versions: versionsOf(call),
        query: route.native === 'anthropic' && call.query === '?beta=true' ? call.query : '',
        rewrite: key.models.length > 0,
      })
    : createTranslating({ route, remote, body, model, models, maxTokensDefault });
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
