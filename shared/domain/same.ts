/** Whether two values that JSON can say are the same, in whatever order their fields are; one that is undefined is not there. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [ours, theirs] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].every((key) => isSame(ours[key], theirs[key]));
}
