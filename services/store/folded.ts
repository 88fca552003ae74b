import type { Statement } from 'better-sqlite3';

const keptMax = 2_000;

type Statements = { select: Statement; insert: Statement; update: Statement };

/** States of many entities in a table: folded in memory, written once a transaction. */
export function openFolded<S extends { id: string }>(
  { select, insert, update }: Statements,
  columnsOf: (state: S) => Record<string, string>,
) {
  const kept = new Map<string, S>();
  /** With the columns that are in the table. */
  const changed = new Map<string, string>();
  const columnsIn = (state: S | undefined) => (state ? JSON.stringify(columnsOf(state)) : '');
  const load = (id: string): S | undefined => {
    const row = select.get(id) as { state: string } | undefined;
    return row && JSON.parse(row.state);
  };
  return {
    get: (id: string): S | undefined => kept.get(id) ?? load(id),
    evolve(id: string, fold: (state: S | undefined) => S | undefined): S | undefined {
      const before = kept.get(id) ?? load(id);
      const after = fold(before);
      if (!after || after === before) return after;
      kept.delete(id); // the map is in the order of use
      kept.set(id, after);
      if (!changed.has(id)) changed.set(id, columnsIn(before));
      return after;
    },
    flush(): void {
      for (const [id, columns] of changed) {
        const state = kept.get(id);
        if (!state) continue;
        // Where only the state is new, the indexes are left alone: this is what most events do.
        if (columns === columnsIn(state)) update.run({ id, state: JSON.stringify(state) });
        else insert.run({ id, state: JSON.stringify(state), ...columnsOf(state) });
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
