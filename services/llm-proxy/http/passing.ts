import type { Remote } from '../upstreams.ts';
import { toWireError } from '../wires/errors.ts';
import type { JsonObject } from '../wires/pivot.ts';
import type { Adapter } from './adapter.ts';
import { readWholeJson } from './adapter.ts';
import type { ModelRoute } from './routes.ts';
import { createTally, failureOf } from './tally.ts';

const usageOption = Buffer.from('"stream_options":{"include_usage":true},');
const openBrace = 123;

type Options = {
  route: ModelRoute;
  remote: Remote;
  raw: Buffer;
  body: JsonObject;
  /** As the endpoint calls it. */
  model: string;
  stream: boolean;
  /** Headers that choose among versions of the wire. */
  versions: Record<string, string>;
  /** Behind the path; empty, or with its question mark. */
  query: string;
  /** Whether the provider must read of the body what we have read of it, were it ambiguous. */
  rewrite: boolean;
};

/** For a client that speaks its provider's wire: the bytes go through as they are, both ways. */
export function createPassing({ route, remote, raw, body, model, stream, versions, query, rewrite }: Options): Adapter {
  const renamed = rewrite || model !== body.model;
  const spliced = stream && route.kind === 'chat' && !wantsUsage(body);
  return {
    path: `${remote.basePath}${route.upstreamPath}${query}`,
    body: renamed || spliced ? bodyFor(raw, { ...body, model }, spliced, renamed) : raw,
    headers: { ...remote.headers(), ...versions },
    speaksAlike: true,
    openChannel() {
      const tally = createTally(route.marks, spliced);
      return {
        told: tally.told,
        push: tally.push,
        end(broken) {
          const rest = broken ? '' : tally.end();
          const failure = broken ?? failureOf(tally.told);
          // The provider's own error has gone through already.
          if (!failure || tally.told.failure) return { last: rest, failure };
          return { last: `${rest}${tally.gap()}${route.writeErrorEvent(toWireError(failure))}`, failure };
        },
      };
    },
    readWhole(answer) {
      const { told } = readWholeJson(remote.upstream.label, answer);
      return { body: answer, told };
    },
  };
}

/** What we pay for we must know, whether or not the client wants to. */
function bodyFor(raw: Buffer, body: JsonObject, spliced: boolean, rewrite: boolean): Buffer | string {
  if (!spliced) return JSON.stringify(body);
  const brace = raw.indexOf(openBrace) + 1;
  if (!rewrite && body.stream_options === undefined)
    return Buffer.concat([raw.subarray(0, brace), usageOption, raw.subarray(brace)]);
  const options = typeof body.stream_options === 'object' ? body.stream_options : {};
  return JSON.stringify({ ...body, stream_options: { ...options, include_usage: true } });
}

function wantsUsage({ stream_options: options }: JsonObject): boolean {
  return (
    typeof options === 'object' && options !== null && 'include_usage' in options && options.include_usage === true
  );
}
