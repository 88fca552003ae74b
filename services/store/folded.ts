import type { Statement } from 'better-sqlite3';

const keptMax = 2_000;

/** States of many entities in a table: folded in memory, written once a transaction. */
export function openFolded<S extends { id: string }>(
  select: Statement,
  upsert: Statement,
  columnsOf: (state: S) => Record<string, string>,
) {
  const kept = new Map<string, S>();
  const changed = new Set<string>();
  const load = (id: string): S | undefined => {
    const row = select.get(id) as { state: string } | undefined;
    return row && JSON.parse(row.state);
  };
  return {
    evolve(id: string, fold: (state: S | undefined) => S | undefined): S | undefined {
      const before = kept.get(id) ?? load(id);
      const after = fold(before);
      if (!after || after === before) return after;
      kept.delete(id); // the map is in the order of use
      kept.set(id, after);
      changed.add(id);
      return after;
    },
    flush(): void {
      for (const id of changed) {
        const state = kept.get(id);
        if (state) upsert.run({ id, state: JSON.stringify(state), ...columnsOf(state) });
      }
      changed.clear();
      for (const id of kept.keys()) {
        if (kept.size <= keptMax) break;
        kept.delete(id);
      }
    },
    forget(): void {
      kept.clear();
      changed.clear();
    },
  };
}
