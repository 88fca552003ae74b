import { distance } from 'fastest-levenshtein';
import { z } from 'zod';

/** From the input's root to a field. */
export type Path = readonly (string | number)[];
/** What is wrong with the field at `path`. */
export type Located = { path: Path; message: string };

/** A zod issue in our words: the field, what is wrong with it, and the nearest name for one that is not known. */
export function describe(issue: z.core.$ZodIssue, schema: z.ZodType, input: unknown): Located[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  const value = path.reduce<unknown>((at, part) => (at as Record<string | number, unknown> | undefined)?.[part], input);
  if (issue.code === 'unrecognized_keys') {
    const known = knownFields(schema, path);
    return issue.keys.map((key) => ({ path: [...path, key], message: unknownField(known, key) }));
  }
  if (value === undefined) return [{ path, message: 'is missing' }];
  if (issue.code === 'invalid_value')
    return [
      { path, message: `is ${JSON.stringify(value)}; it takes ${issue.values.map((each) => String(each)).join(', ')}` },
    ];
  if (issue.code === 'invalid_type')
    return [{ path, message: `must be ${article(issue.expected)}, not ${JSON.stringify(value)}` }];
  if (issue.code === 'too_small' && issue.message.startsWith('Too '))
    return [{ path, message: `must be at least ${issue.minimum}` }];
  if (issue.code === 'too_big' && issue.message.startsWith('Too '))
    return [{ path, message: `must be at most ${issue.maximum}` }];
  return [{ path, message: issue.message }];
}

const article = (type: string) =>
  ({
    string: 'a text in quotes',
    number: 'a number',
    int: 'a whole number',
    array: 'a list in [ ]',
    object: 'a table (in JSON an object)',
  })[type] ?? type;

/** The fields that the schema knows at a path. */
function knownFields(schema: z.ZodType, path: Path): string[] {
  let at: unknown = schema;
  for (const part of path) {
    at = bare(at);
    at = at instanceof z.ZodArray ? at.element : at instanceof z.ZodObject ? at.shape[part] : undefined;
  }
  const object = bare(at);
  return object instanceof z.ZodObject ? Object.keys(object.shape) : [];
}

function bare(type: unknown): unknown {
  let at = type;
  while (at instanceof z.ZodDefault || at instanceof z.ZodOptional) at = at.unwrap();
  return at;
}

export const unknownField = (known: readonly string[], name: string) =>
  `is not a known field${didYouMean(known, name)}`;

export function didYouMean(known: readonly string[], name: string): string {
  const [nearest] = known.map((each) => ({ each, off: distance(each, name) })).sort((a, b) => a.off - b.off);
  const longer = name.length > 2 ? known.find((each) => each.includes(name)) : undefined;
  const meant = nearest && nearest.off <= Math.max(2, name.length / 2.5) ? nearest.each : longer;
  if (meant) return `; did you mean "${meant}"?`;
  return known.length > 0 && known.length <= 20 ? `; known are ${known.join(', ')}` : '';
}
