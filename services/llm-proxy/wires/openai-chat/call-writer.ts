import { inputOfArgs, originOf } from '../custom-tools.ts';
import type { JsonObject, PivotEvent, PivotRequest } from '../pivot.ts';

type Begun = Extract<PivotEvent, { type: 'toolCallStart' }>;
type Added = Extract<PivotEvent, { type: 'toolCallArgs' }>;

/** Writes the calls of a stream. A custom tool's text lies within the arguments, which have to be whole before it can be told. */
export function createCallWriter({ tools }: Pick<PivotRequest, 'tools'>, send: (call: JsonObject) => string) {
  let held: { index: number; args: string } | undefined;
  const end = (): string => {
    const told = held ? send({ index: held.index, custom: { input: inputOfArgs(held.args) } }) : '';
    held = undefined;
    return told;
  };
  return {
    begin({ index, id, name }: Begun): string {
      const before = end();
      if (originOf(tools, { name }).kind === 'function')
        return before + send({ index, id, type: 'function', function: { name, arguments: '' } });
      held = { index, args: '' };
      return before + send({ index, id, type: 'custom', custom: { name, input: '' } });
    },
    add({ index, delta }: Added): string {
      if (!held) return send({ index, function: { arguments: delta } });
      held.args += delta;
      return '';
    },
    /** What is still to be told of the last call. */
    end,
  };
}
