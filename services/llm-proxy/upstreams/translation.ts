import type { Failure } from '#shared/errors.ts';
import type { ModelRoute } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import type { Told } from '../stream-facts.ts';
import { clipModel, newTold } from '../stream-facts.ts';
import { providerErrorOf, toFailure, tornOff, toWireError } from '../wires/errors.ts';
import { fitToModel } from '../wires/fit-to-model.ts';
import { sharedFields } from '../wires/openai-responses/shared-fields.ts';
import type { JsonObject, PivotEvent, WireError } from '../wires/pivot.ts';
import { createSseParser } from '../wires/sse.ts';
import { shortenNames } from '../wires/tool-names.ts';
import type { Adapter, Channel } from './adapter.ts';
import { readWholeJson } from './adapter.ts';
import type { Remote } from './upstreams.ts';
import { wayTo } from './upstreams.ts';

type Options = {
  route: ModelRoute;
  remote: Remote;
  body: JsonObject;
  target: Target;
  maxTokensDefault: number;
  keep: ((response: JsonObject) => void) | undefined;
  /** Writes a body anew. */
  write(body: object): Buffer;
};

const wholeReasons: ReadonlySet<unknown> = new Set(['end', 'tool-calls', 'stop-sequence']);

/** For a client that speaks another wire than the provider. Throws `invalid` with each field that cannot be carried over. */
export function createTranslating({ route, remote, body, target, maxTokensDefault, keep, write }: Options): Adapter {
  const { client } = route;
  const { tokenLimitName, official } = remote;
  const request = client.readRequest(body);
  const maxTokens = Math.min(request.maxTokens ?? maxTokensDefault, target.maxOutputTokens ?? Number.POSITIVE_INFINITY);
  const { model } = target;
  const { wire, traits } = wayTo(remote, target.traits, request.tools);
  const fitted = shortenNames(fitToModel({ ...request, maxTokens }, traits), wire.toolNameCharsMax);
  const written = {
    ...wire.writeRequest(fitted.request, { model, maxTokensDefault, tokenLimitName, official, traits }),
    ...(route.native === remote.native ? sharedFields(body) : {}),
  };
  const reply = { request, model, createdS: Math.floor(Date.now() / 1_000), keep };
  const adapterFor = (written: JsonObject): Adapter => ({
    path: remote.basePath + wire.path,
    body: write(written),
    headers: { ...remote.headers(), ...wire.versionHeaders },
    speaksAlike: false,
    openChannel(): Channel {
      const parser = createSseParser();
      const reader = wire.createEventReader();
      const writer = client.createEventWriter(reply);
      const told = newTold();
      const tell = (events: PivotEvent[]) => {
        for (const event of events) note(event, told);
        return events.map((event) => writer.write(fitted.eventOf(event))).join('');
      };
      return {
        told,
        push: (chunk) =>
          parser
            .push(chunk)
            .map((event) => tell(reader.read(event)))
            .join(''),
        end(broken) {
          const last =
            broken && !told.failure && !told.ended
              ? tell([{ type: 'error', error: errorOf(broken) }])
              : tell(reader.end());
          return { last: last + writer.end(), failure: broken ?? told.failure };
        },
      };
    },
    readWhole(answer) {
      const { json, told } = readWholeJson(remote.upstream.label, answer);
      if (told.failure) throw told.failure;
      const read = wire.readAnswer(json);
      const whole = wholeReasons.has(read.stopReason);
      return {
        body: Buffer.from(JSON.stringify(client.writeAnswer(fitted.answerOf(read), reply))),
        told: { ...told, whole },
      };
    },
    withoutThinking(thrown) {
      const plain = wire.boundThinking?.isRefused(thrown) ? wire.boundThinking.leaveOut(written) : undefined;
      return plain && adapterFor(plain);
    },
  });
  return adapterFor(written);
}

/** What an event tells of its answer. */
export function note(event: PivotEvent, told: Told): void {
  if (event.type === 'start') told.model = clipModel(event.model);
  if ((event.type === 'start' || event.type === 'usage') && event.usage) told.usage = event.usage;
  if ('delta' in event) told.saidBytes += Buffer.byteLength(event.delta);
  if (event.type === 'stop') {
    told.ended = true;
    told.whole = wholeReasons.has(event.reason);
  }
  if (event.type === 'error') told.failure ??= toFailure(event.error);
}

/** Of a stream that broke in the middle. */
const errorOf = (broken: Failure): WireError =>
  broken.code === 'upstream' && !providerErrorOf(broken) ? tornOff(broken.message) : toWireError(broken);
