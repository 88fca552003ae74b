import { broken } from './errors.ts';
import type { PivotEvent } from './pivot.ts';
import { followObject } from './read.ts';

type Said = Extract<PivotEvent, { type: 'text' | 'refusal' | 'thinking' }>;

/** A call of a stream, as far as it has come. */
export type StreamedCall = {
  readonly id: string;
  /** Undefined: it has not come yet. */
  name: string | undefined;
  readonly args: ReturnType<typeof followObject>;
};

type Waiting = StreamedCall & { type: 'call'; untold: string; isBegun: boolean; isArgued: boolean };

/** What a stream says, made to come one after the other. */
export type InOrder = {
  say(event: Said): PivotEvent[];
  begin(id: string, name: string | undefined): StreamedCall;
  /** More of a call's arguments, or none. */
  extend(call: StreamedCall, args: string): PivotEvent[];
  /** Whether nothing is still to come of what has begun. */
  isWhole(): boolean;
  /** Nothing more comes. `isCut`: the model ran out of tokens, in the middle of a call perhaps. */
  close(isCut: boolean): PivotEvent[];
};

/**
 * Servers that give several calls at once mix their pieces, and say a word between them; on other wires each part is at its end before the
 * next begins. What comes first goes on as it comes. What comes meanwhile waits until that is whole: to the end of the stream, perhaps.
 */
export function createInOrder(): InOrder {
  const waiting: (Said | Waiting)[] = [];
  const open = new Map<StreamedCall, Waiting>();
  let count = 0;

  const tell = (call: Waiting, name: string): PivotEvent[] => {
    const begun: PivotEvent[] = call.isBegun ? [] : [{ type: 'toolCallStart', index: count++, id: call.id, name }];
    const { untold } = call;
    call.isBegun = true;
    call.untold = '';
    call.isArgued ||= untold !== '';
    return untold === '' ? begun : [...begun, { type: 'toolCallArgs', index: count - 1, delta: untold }];
  };
  const advance = (): PivotEvent[] => {
    const told: PivotEvent[] = [];
    for (let first = waiting[0]; first; first = waiting[0]) {
      if (first.type !== 'call') told.push(first);
      else {
        if (first.name === undefined) break;
        told.push(...tell(first, first.name));
        if (waiting.length === 1 || !first.args.isWhole()) break;
        open.delete(first);
      }
      waiting.shift();
    }
    return told;
  };
  const closeCall = (call: Waiting, isCut: boolean): PivotEvent[] => {
    if (call.name === undefined)
      return isCut ? [] : [{ type: 'error', error: broken('the answer calls a tool without a name') }];
    const told = tell(call, call.name);
    // A call without arguments has those of an empty object.
    return call.isArgued || isCut ? told : [...told, { type: 'toolCallArgs', index: count - 1, delta: '{}' }];
  };
  return {
    say(event) {
      waiting.push(event);
      return advance();
    },
    begin(id, name) {
      const call: Waiting = {
        type: 'call',
        id,
        name,
        args: followObject(),
        untold: '',
        isBegun: false,
        isArgued: false,
      };
      waiting.push(call);
      open.set(call, call);
      return call;
    },
    extend(call, args) {
      const more = open.get(call);
      if (!more) return args.trim() === '' ? [] : [{ type: 'error', error: broken('the answer mixes its tool calls') }];
      more.args.push(args);
      more.untold += args;
      return advance();
    },
    isWhole: () => waiting.every((each) => each.type !== 'call' || each.args.isWhole()),
    close: (isCut) => waiting.splice(0).flatMap((each) => (each.type === 'call' ? closeCall(each, isCut) : [each])),
  };
}
