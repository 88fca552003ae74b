import type { ModelRoute } from '../model-call.ts';
import { toWireError } from '../wires/errors.ts';
import { followResponse } from '../wires/openai-responses/failure.ts';
import type { JsonObject } from '../wires/pivot.ts';
import type { Adapter } from './adapter.ts';
import { readWholeJson } from './adapter.ts';
import { createTally, failureOf } from './stream-watch.ts';
import type { Remote } from './upstreams.ts';

const openBrace = 123;

type Options = {
  route: ModelRoute;
  remote: Remote;
  raw: Buffer;
  body: JsonObject;
  /** As the endpoint calls it. */
  model: string;
  stream: boolean;
  /** The client's headers that go through. */
  passed: Record<string, string>;
  /** Behind the path; empty, or with its question mark. */
  query: string;
  /** Whether the provider must read of the body what we have read of it, were it ambiguous. */
  rewrite: boolean;
  /** What the provider must be told that the answer may have at most, for the client named no limit. */
  outputMax: number | undefined;
  /** Takes each whole response of OpenAI's responses. */
  keep: ((response: JsonObject) => void) | undefined;
  /** Writes a body anew. */
  write(body: JsonObject): Buffer;
};

/** For a client that speaks its provider's wire: the bytes go through as they are, both ways. */
export function createPassing(options: Options): Adapter {
  const { route, remote, body, stream, passed, query, keep } = options;
  const spliced = stream && route.kind === 'chat' && !wantsUsage(body);
  return {
    path: `${remote.basePath}${route.upstreamPath}${query}`,
    body: bodyFor(options, spliced),
    headers: { ...remote.headers(), ...passed },
    speaksAlike: true,
    openChannel() {
      const tally = createTally(route.marks, spliced, keep && ((event) => keepLast(event, keep)));
      const response = route.kind === 'responses' ? followResponse() : undefined;
      return {
        told: tally.told,
        push(chunk) {
          const lines = tally.push(chunk);
          response?.see(lines);
          return lines;
        },
        end(broken) {
          const rest = broken ? '' : tally.end();
          const failure = broken ?? failureOf(tally.told);
          // The provider's own error has gone through already.
          if (!failure || tally.told.failure) return { last: rest, failure };
          // As the provider's did: clients try that again, and no half of an answer is taken for the whole. Responses have an event for it.
          if (failure.code === 'upstream' && !response) return { last: rest, failure, isTorn: true };
          const place = response?.place(tally.told.model);
          return { last: `${rest}${tally.gap()}${route.writeErrorEvent(toWireError(failure), place)}`, failure };
        },
      };
    },
    readWhole(answer) {
      const { json, told } = readWholeJson(remote.upstream.label, answer);
      if (!told.failure) keep?.(json);
      return { body: answer, told };
    },
  };
}

/** The last event of a response has all of it. */
function keepLast({ type, response }: JsonObject, keep: (response: JsonObject) => void): void {
  const isLast = type === 'response.completed' || type === 'response.incomplete';
  if (isLast && typeof response === 'object' && response !== null) keep({ ...response });
}

/** What we pay for we must know, whether or not the client wants to, and bound, whether or not it did. */
function bodyFor(options: Options, spliced: boolean): Buffer {
  const { route, remote, raw, body, model, rewrite, outputMax } = options;
  const { stream_options: wanted } = body;
  const limit = outputMax === undefined ? {} : { [limitNameOf(route, remote)]: outputMax };
  const usage = spliced ? { stream_options: { ...(wanted instanceof Object ? wanted : {}), include_usage: true } } : {};
  const added = { ...usage, ...limit };
  const names = Object.keys(added);
  const own = route.client.withoutForeign?.(raw, body);
  if (own) return options.write({ ...own, model, ...added });
  if (rewrite || model !== body.model || names.some((name) => name in body))
    return options.write({ ...body, model, ...added });
  if (names.length === 0) return raw;
  const brace = raw.indexOf(openBrace) + 1;
  const text = Buffer.from(`${JSON.stringify(added).slice(1, -1)},`);
  return Buffer.concat([raw.subarray(0, brace), text, raw.subarray(brace)]);
}

function limitNameOf({ kind }: ModelRoute, { tokenLimitName }: Remote): string {
  if (kind === 'responses') return 'max_output_tokens';
  return kind === 'messages' ? 'max_tokens' : tokenLimitName;
}

function wantsUsage({ stream_options: options }: JsonObject): boolean {
  return (
    typeof options === 'object' && options !== null && 'include_usage' in options && options.include_usage === true
  );
}
