/**
 * Whether a model's name is one of `patterns`: names, with `*` for any part of one, none of them for all. Looks for the parts
 * from left to right, where a regular expression would go back and forth over a hostile pattern.
 */
export function allowModels(patterns: readonly string[]): (name: string) => boolean {
  if (patterns.length === 0) return () => true;
  const names = new Set(patterns.filter((pattern) => !pattern.includes('*')));
  const globs = patterns.filter((pattern) => pattern.includes('*')).map((pattern) => pattern.split('*'));
  return (name) => names.has(name) || globs.some((parts) => fits(name, parts));
}

function fits(name: string, parts: readonly string[]): boolean {
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
