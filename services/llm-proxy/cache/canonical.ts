import { createHash } from 'node:crypto';
import { Failure } from '#shared/errors.ts';
import { rawNumberOf } from '#shared/exact-json.ts';

/** Fields that are left out, by name; within a field, those of its value, or of each of its items. */
export type Inert = { readonly [field: string]: true | Inert };

const depthMax = 200;
const longChars = 256;

/**
 * SHA-256 in hex of a value as JSON has it, whatever the order of its fields. No two values have one form: each part says what it is and
 * how long. Throws `invalid` where it nests deeper than 200 levels.
 */
export function hashCanonical(value: unknown, inert?: Inert): string {
  const hash = createHash('sha256');
  // Short parts are gathered, long ones handed over as they are: no copy of them is made.
  let short = '';
  const add = (part: unknown, left: Inert | undefined, depth: number): void => {
    if (typeof part === 'string') {
      if (part.length < longChars) {
        short += `s${part.length}:`;
        short += part;
      } else {
        const text = encodable(part);
        hash.update(encodable(`${short}${text === part ? 'l' : 'e'}${part.length}:`));
        hash.update(text);
        short = '';
      }
    } else if (Array.isArray(part)) {
      checkDepth(depth);
      short += `[${part.length}:`;
      for (const item of part) add(item, left, depth + 1);
    } else if (isObject(part)) {
      checkDepth(depth);
      const raw = rawNumberOf(part);
      if (raw === undefined) addFields(part, left, depth);
      else short += `${raw};`;
    } else short += `${part ?? null};`;
  };
  const addFields = (part: Fields, left: Inert | undefined, depth: number) => {
    short += '{';
    for (const field of Object.keys(part).sort()) {
      const rule = left !== undefined && Object.hasOwn(left, field) ? left[field] : undefined;
      const inner = part[field];
      if (rule === true || inner === undefined) continue;
      short += `${field.length}:`;
      short += field;
      add(inner, rule, depth + 1);
    }
    short += '}';
  };
  add(value, inert, 0);
  return hash.update(encodable(short)).digest('hex');
}

type Fields = Readonly<Record<string, unknown>>;
const isObject = (part: unknown): part is Fields => typeof part === 'object' && part !== null;

/** Halves of characters have no UTF-8, and would all become the same: they are escaped. No gathered part begins with a quote. */
const encodable = (text: string) => (text.isWellFormed() ? text : JSON.stringify(text));

function checkDepth(depth: number): void {
  if (depth >= depthMax) throw new Failure('invalid', `the body nests deeper than ${depthMax} levels; flatten it`);
}
