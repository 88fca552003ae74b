import type { ModelEntry } from './schema.ts';

/** `gpt-5-2025-08-07` is a `gpt-5`, `gpt-5-mini` is not. */
export const isOf = (name: string, id: string): boolean =>
  name === id || (name.startsWith(id) && /^-(\d{8}|\d{4}-\d{2}-\d{2})$/.test(name.slice(id.length)));

/** The entries of a name: those that are written so, else those that it is a dated form of. */
export function entriesOf(models: readonly ModelEntry[], name: string): ModelEntry[] {
  const exact = models.filter(({ id }) => id === name);
  return exact.length > 0 ? exact : models.filter(({ id }) => isOf(name, id));
}

/** `openai-eu/gpt-4.1` in its two parts; undefined where what stands before the slash is no endpoint's name. */
export function splitName(
  name: string,
  isEndpoint: (name: string) => boolean,
): { endpoint: string; model: string } | undefined {
  const slash = name.indexOf('/');
  if (slash < 1 || slash === name.length - 1) return undefined;
  const endpoint = name.slice(0, slash);
  return isEndpoint(endpoint) ? { endpoint, model: name.slice(slash + 1) } : undefined;
}
