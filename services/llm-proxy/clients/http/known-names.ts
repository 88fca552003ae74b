import { Failure } from '#shared/errors.ts';
import type { JsonObject } from '../../wires/pivot.ts';

/** As readers see a name that take a small letter for a large one, or a letter that only looks like it. */
export const fold = (name: string): string => name.toUpperCase().toLowerCase();

/** Throws `invalid` for a field whose name is one of `known` but for its letters' case: some providers take it for that one, and we would not. */
export function checkSpelling(body: JsonObject, known: ReadonlySet<string>): void {
  for (const name of Object.keys(body)) {
    const folded = fold(name);
    if (name === folded || !known.has(folded)) continue;
    const message = `is to be written ${folded}`;
    throw new Failure('invalid', `${name}: ${message}`, { problems: [{ field: name, message }] });
  }
}
