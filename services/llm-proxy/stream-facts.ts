import type { Usage } from '#shared/contracts/llm.ts';
import type { Failure } from '#shared/errors.ts';
import { toFailure } from './wires/errors.ts';
import { isObject } from './wires/is-object.ts';
import { errorIn } from './wires/openai-chat/error-in.ts';
import type { JsonObject } from './wires/pivot.ts';
import { usageIn } from './wires/usage.ts';

/** What an answer told of itself. */
export type Told = {
  model: string | undefined;
  usage: Usage | undefined;
  /** Whether `usage` is our own count, in part at least. */
  estimated: boolean;
  /** The length of what the model said so far, in a stream. */
  saidBytes: number;
  /** The provider told no usage at all: it is a guess of ours, and what it cost is not known. */
  guessed?: true;
  /** Who made it, where a kept answer says so. */
  provider?: string;
  /** The model said why it stopped. */
  stopped: boolean;
  /** The answer came to its end. */
  ended: boolean;
  /** It is what was asked for, and may be given again. */
  whole: boolean;
  failure: Failure | undefined;
};

/** Nothing is known yet. */
export const newTold = (): Told => ({
  model: undefined,
  usage: undefined,
  estimated: false,
  saidBytes: 0,
  stopped: false,
  ended: false,
  whole: true,
  failure: undefined,
});

const wholeReasons: ReadonlySet<unknown> = new Set([
  'stop',
  'tool_calls',
  'function_call',
  'end_turn',
  'tool_use',
  'stop_sequence',
  'completed',
]);

/** What a provider calls its model, as the ledger has it. */
export const clipModel = (model: string): string => model.slice(0, 200);

/** Reads what a parsed body, or the JSON of one event, tells; `name`: the event's, where that says it. */
export function readTold(json: JsonObject, told: Told, name?: string): void {
  const inner = isObject(json.message) ? json.message : isObject(json.response) ? json.response : json;
  if (typeof inner.model === 'string' && inner.model !== '') told.model = clipModel(inner.model);
  told.usage = usageIn(json, told.usage) ?? told.usage;
  for (const reason of reasonsIn(json, inner)) {
    if (typeof reason !== 'string') continue;
    told.stopped = true;
    if (!wholeReasons.has(reason)) told.whole = false;
  }
  const error = errorIn(json, name) ?? errorIn({ error: inner.error });
  if (!error) return;
  told.failure = toFailure(error);
  told.whole = false;
}

function reasonsIn(json: JsonObject, inner: JsonObject): unknown[] {
  const choices = Array.isArray(json.choices) ? json.choices : [];
  const delta = isObject(json.delta) ? json.delta.stop_reason : undefined;
  const status = json.object === 'response' || inner !== json ? inner.status : undefined;
  return [
    ...choices.map((each) => (isObject(each) ? each.finish_reason : undefined)),
    inner.stop_reason,
    delta,
    status,
  ];
}
