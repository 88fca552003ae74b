const hopByHop = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  'http2-settings',
]);

/** What goes on to the next hop, as a flat list of names and values: not what was meant for this one, nor for a proxy. */
export function onwardHeaders(raw: readonly string[]): string[] {
  const pairs = pairsOf(raw);
  const named = new Set(
    pairs
      .filter(([name]) => name.toLowerCase() === 'connection')
      .flatMap(([, value]) => value.split(','))
      .map((each) => each.trim().toLowerCase()),
  );
  return pairs
    .filter(([name]) => {
      const lower = name.toLowerCase();
      // How long a message is, is never for the sender to take away.
      if (lower === 'content-length') return true;
      return !hopByHop.has(lower) && !named.has(lower) && !lower.startsWith('proxy-');
    })
    .flat();
}

/** Of [name, value, name, value …] the pairs. */
export const pairsOf = (raw: readonly string[]): [name: string, value: string][] =>
  raw.flatMap((name, at): [string, string][] => (at % 2 === 0 ? [[name, raw[at + 1] ?? '']] : []));
