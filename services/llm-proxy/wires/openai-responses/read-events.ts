import { z } from 'zod';
import { createReader, madeId, settle } from '../answers.ts';
import { broken, upstreamError } from '../errors.ts';
import type { StreamedCall } from '../in-order.ts';
import { createInOrder } from '../in-order.ts';
import type { EventReader, JsonObject, PivotEvent } from '../pivot.ts';
import { usageIn } from '../usage.ts';
import { Ended, FunctionCall, Reasoning, readStop, thinkingIn } from './read-answer.ts';

const text = z.string().nullish().catch(undefined);
const place = z.int().nonnegative();

const Created = z.looseObject({ response: z.looseObject({ id: text, model: text }) });
const Delta = z.looseObject({ output_index: place, content_index: place.catch(0), delta: z.string() });
const Item = z.looseObject({ output_index: place, item: z.looseObject({ type: z.string() }) });
type Delta = z.infer<typeof Delta>;
type Item = z.infer<typeof Item>;
const Last = z.looseObject({ response: Ended });
const Failed = z.looseObject({
  code: text,
  message: text,
  error: z.looseObject({ code: text, message: text }).nullish(),
});

const callsMax = 1_000;
const unreadable: PivotEvent[] = [
  { type: 'error', error: broken('the answer cannot be read: an event is not as it should be') },
];

/** What is said in a response's items, by their place in the output. */
function createOutput() {
  const order = createInOrder();
  const calls = new Map<number, StreamedCall & { isArgued?: boolean }>();
  let textPlace: string | undefined;
  let hasRefusal = false;

  const extend = (index: number, args: string): PivotEvent[] => {
    const call = calls.get(index);
    if (!call) return unreadable;
    call.isArgued ||= args !== '';
    return order.extend(call, args);
  };
  const begin = (index: number, item: JsonObject): PivotEvent[] => {
    const call = FunctionCall.safeParse(item).data;
    if (!call || calls.size >= callsMax || calls.has(index)) return unreadable;
    calls.set(index, order.begin(call.call_id, call.name));
    return extend(index, call.arguments);
  };
  const closeCall = (index: number, item: JsonObject): PivotEvent[] => {
    const call = calls.get(index);
    if (!call) return begin(index, item);
    const whole = call.isArgued ? undefined : FunctionCall.safeParse(item).data;
    return whole ? extend(index, whole.arguments) : [];
  };
  return {
    has: () => ({ calls: calls.size > 0, refusal: hasRefusal }),
    add: ({ output_index, item }: Item): PivotEvent[] =>
      item.type === 'function_call' ? begin(output_index, item) : [],
    extend: ({ output_index, delta }: Delta): PivotEvent[] => extend(output_index, delta),
    text({ output_index, content_index, delta }: Delta): PivotEvent[] {
      if (delta === '') return [];
      const at = `${output_index}.${content_index}`;
      const isOther = textPlace !== undefined && textPlace !== at;
      textPlace = at;
      return order.say({ type: 'text', delta, ...(isOther ? { begins: true } : {}) });
    },
    refuse({ delta }: Delta): PivotEvent[] {
      if (delta === '') return [];
      hasRefusal = true;
      return order.say({ type: 'refusal', delta });
    },
    close({ output_index, item }: Item): PivotEvent[] {
      if (item.type === 'function_call') return closeCall(output_index, item);
      if (item.type !== 'reasoning') return [];
      const reasoning = Reasoning.safeParse(item).data;
      if (!reasoning) return unreadable;
      // Until then its encrypted content is not whole.
      const thought = thinkingIn(reasoning);
      if (!thought) return [];
      const { text: delta, ...rest } = thought;
      return order.say({ ...rest, delta, begins: true });
    },
    end: (isCut: boolean): PivotEvent[] => order.close(isCut),
  };
}

const error = (data: JsonObject): PivotEvent[] => {
  const { error: inner, code, message } = Failed.safeParse(data).data ?? {};
  return [{ type: 'error', error: upstreamError([inner?.code ?? code], inner?.message ?? message) }];
};

function readWith<S extends z.ZodType>(schema: S, data: JsonObject, tell: (read: z.infer<S>) => PivotEvent[]) {
  const read = schema.safeParse(data);
  return read.success ? tell(read.data) : unreadable;
}

/** Reads the events of a streamed response. What is not known says nothing. */
export function createEventReader(): EventReader {
  const output = createOutput();
  let started = false;

  const start = (id?: string | null, model?: string | null): PivotEvent[] => {
    if (started) return [];
    started = true;
    return [{ type: 'start', id: id || madeId('resp_'), model: model ?? '' }];
  };
  const finish = (response: z.infer<typeof Ended>, data: JsonObject): PivotEvent[] => {
    const begun = start(response.id, response.model);
    const reason = readStop(response);
    if (typeof reason === 'object') return [...begun, { type: 'error', error: reason }];
    const usage = usageIn(data);
    return [
      ...begun,
      ...output.end(reason === 'length'),
      ...(usage ? [{ type: 'usage' as const, usage }] : []),
      { type: 'stop', reason: settle(reason, output.has()) },
    ];
  };
  const steps = new Map<unknown, (data: JsonObject) => PivotEvent[]>([
    ['response.created', (data) => readWith(Created, data, ({ response }) => start(response.id, response.model))],
    ['response.output_item.added', (data) => readWith(Item, data, output.add)],
    ['response.output_text.delta', (data) => readWith(Delta, data, output.text)],
    ['response.refusal.delta', (data) => readWith(Delta, data, output.refuse)],
    ['response.function_call_arguments.delta', (data) => readWith(Delta, data, output.extend)],
    ['response.output_item.done', (data) => readWith(Item, data, output.close)],
    ...['response.completed', 'response.incomplete', 'response.failed', 'response.cancelled'].map(
      (type): [unknown, (data: JsonObject) => PivotEvent[]] => [
        type,
        (data) => readWith(Last, data, ({ response }) => finish(response, data)),
      ],
    ),
    ['error', error],
  ]);
  return createReader({
    step(data, name) {
      const events = steps.get(data.type ?? name)?.(data) ?? [];
      const isEarly = !started && events.some(({ type }) => type !== 'error');
      return isEarly ? [...start(), ...events] : events;
    },
    // A response says itself that it is all.
    finish: () => undefined,
  });
}
