import { madeId } from '../answers.ts';
import { broken } from '../errors.ts';
import type { InOrder, StreamedCall } from '../in-order.ts';
import type { PivotEvent } from '../pivot.ts';

/** A piece of a call, as a chunk has it. */
export type CallDelta = { index: number | undefined; id: string; name: string; args: string };

const callsMax = 1_000;

type Known = StreamedCall & { given: string; index: number | undefined };

/**
 * Finds the call that a piece belongs to. Of OpenAI each has its place, and its first piece has an id and a name. Other servers (2026-11-30):
 * Ollama gave every call the place 0 (ollama#15457), or none (ollama#7881); llama.cpp's server said the name again in each piece
 * (llama.cpp#13800); some have no ids, or send the arguments before the name.
 */
export function createCallReader(order: InOrder): (delta: CallDelta) => PivotEvent[] {
  const known: Known[] = [];
  const ids = new Set<string>();

  /** An id that comes twice would make two results of one. */
  const idFor = (given: string) => {
    const id = given === '' || ids.has(given) ? madeId('call_') : given;
    ids.add(id);
    return id;
  };
  const begin = ({ index, id, name }: CallDelta): Known => {
    const call = Object.assign(order.begin(idFor(id), name === '' ? undefined : name), { given: id, index });
    known.push(call);
    return call;
  };
  const find = (delta: CallDelta): Known | undefined => {
    const { index, id } = delta;
    const named = id === '' ? undefined : known.findLast((each) => each.given === id && isAt(each, index));
    const placed = named ?? (index === undefined ? known.at(-1) : known.findLast((each) => each.index === index));
    return placed && goesOn(placed, delta) ? placed : undefined;
  };
  return (delta) => {
    const found = find(delta);
    if (!found && known.length >= callsMax)
      return [{ type: 'error', error: broken(`the answer has more than ${callsMax} tool calls`) }];
    const call = found ?? begin(delta);
    if (delta.name !== '') call.name ??= delta.name;
    return order.extend(call, delta.args);
  };
}

const isAt = (call: Known, index: number | undefined) =>
  index === undefined || call.index === undefined || call.index === index;

/** Whether a piece at the place of a call is more of it, and not another one. */
function goesOn(call: Known, { id, name, args }: CallDelta): boolean {
  const isSame = id !== '' && call.given === id;
  const isOther = id !== '' && call.given !== '' && !isSame;
  // A name that comes late.
  if (call.name === undefined) return !isOther;
  // A piece of arguments, or only of white space behind them.
  if (name === '') return !(isOther && call.args.isWhole());
  if (isOther || (name !== call.name && !isSame)) return false;
  // The name again: of this call as long as its arguments are not whole, or nothing comes with it.
  return !call.args.isWhole() || args.trim() === '';
}
