import type { RunError } from '#shared/contracts/events.ts';
import type { Run } from '#shared/domain/run.ts';

type Active = ReadonlyMap<string, Run>;

/**
 * Finds runs that wait for a branch which is never given up: its holder waits for a run that it asked for, that one perhaps for a
 * further branch, and so on to a run that waits for the first. Of each circle one run is named. `rivalsOf`: who keeps a run from
 * its branch.
 */
export function createCircleFinder(active: Active, rivalsOf: (run: Run) => readonly string[]) {
  /** Those that were named, as they were then: they are about to fail. */
  const named = new Map<string, number>();
  const isNamed = ({ id, version }: Run) => named.get(id) === version;
  return (run: Run): RunError | undefined => {
    if (!run.parent) return undefined;
    for (const [id, version] of named) if (active.get(id)?.version !== version) named.delete(id);
    const waiting = withAncestors(run, active);
    const seen = new Set<string>();
    const next = [...rivalsOf(run)];
    for (let id = next.pop(); id !== undefined; id = next.pop()) {
      const found = active.get(id);
      if (!found || seen.has(id) || (isNamed(found) && id !== run.id)) continue;
      if (waiting.has(id)) {
        named.set(run.id, run.version);
        return circleError(run);
      }
      seen.add(id);
      if (found.status === 'waiting') next.push(...openChildren(found));
      if (found.startedAt === null) next.push(...rivalsOf(found));
    }
    return undefined;
  };
}

function withAncestors(run: Run, active: Active): Set<string> {
  const ids = new Set<string>();
  for (let each: Run | undefined = run; each && !ids.has(each.id); each = active.get(each.parent?.runId ?? ''))
    ids.add(each.id);
  return ids;
}

const openChildren = ({ children }: Run) => children.filter(({ ended }) => ended === null).map(({ runId }) => runId);

const circleError = ({ definition: { branch, repository } }: Run): RunError => ({
  code: 'branch-circle',
  message: `it waits for branch "${branch}" of ${repository}, and who holds that waits in turn for what is held by those who asked for this run: none could ever go on. Let the agents delegate in one order, or share a branch (ownership)`,
});
