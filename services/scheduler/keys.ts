import type { Run } from '#shared/domain/run.ts';

/** How many runs of one kind may be at work at a time. Unset: as many as there are. */
export type Caps = {
  workstreams: ReadonlyMap<string, number>;
  models: ReadonlyMap<string, number>;
  /** Whether critical runs go one at a time, with nothing else started meanwhile. */
  criticalAlone: boolean;
};

/** Something of which runs need a part. */
export type Key =
  /** So many may be at work at a time. */
  | { kind: 'count'; name: string; max: number }
  /** A branch, from a run's start to its end: shared; or alone, going when it is free; or alone and in turn. */
  | { kind: 'branch'; name: string; access: 'share' | 'wait' | 'queue' };

type BranchKey = Extract<Key, { kind: 'branch' }>;

export const criticalKey = 'critical';

/** What a run needs while it is at work. */
export function keysOf({ agentId, definition, work }: Run, caps: Caps): Key[] {
  const { limits, workstream, model = 'default', repository, branch, ownership } = definition;
  const count = (name: string, max: number | undefined): Key[] =>
    max === undefined ? [] : [{ kind: 'count', name, max }];
  const access = ownership.branch;
  return [
    ...count(`workstream:${workstream}`, caps.workstreams.get(workstream) ?? caps.workstreams.get('*')),
    ...count(`model:${model}`, caps.models.get(model) ?? caps.models.get('*')),
    ...count(`agent:${agentId}`, limits.concurrent_runs ?? 1),
    ...count(criticalKey, caps.criticalAlone && work.priority === 'critical' ? 1 : undefined),
    ...(repository === undefined ? [] : [{ kind: 'branch' as const, name: `branch:${repository}#${branch}`, access }]),
  ];
}

/** `parked`: it waits for a person, another run or a time, and holds no more than its branch. */
export type Hold = 'at-work' | 'parked' | 'none';

/** Who holds what. */
export type Holders = {
  /** True where something was given up by it. */
  set(runId: string, keys: readonly Key[], how: Hold): boolean;
  /** Whether a run that is not at work may have these keys. A branch that a run above it holds is no obstacle: that one waits for it. */
  allows(runId: string, keys: readonly Key[], isAbove: (holder: string) => boolean): boolean;
  /** Whether no further run may have a key that counts. */
  isFull(key: Key): boolean;
  /** Who keeps a run from its branch. */
  rivals(runId: string, keys: readonly Key[], isAbove: (holder: string) => boolean): string[];
  /** Whether one of those that are meant holds a key. */
  isHeldBy(name: string, isMeant: (runId: string) => boolean): boolean;
  /** How many hold a key. */
  count(name: string): number;
};

export function createHolders(): Holders {
  const held = new Map<string, { all: Set<string>; alone: Set<string> }>();
  const keysHeld = new Map<string, readonly Key[]>();

  const drop = (runId: string, name: string) => {
    const holders = held.get(name);
    holders?.all.delete(runId);
    holders?.alone.delete(runId);
    if (holders?.all.size === 0) held.delete(name);
  };
  const take = (runId: string, key: Key) => {
    const holders = held.get(key.name) ?? { all: new Set(), alone: new Set() };
    holders.all.add(runId);
    if (key.kind === 'branch' && key.access !== 'share') holders.alone.add(runId);
    held.set(key.name, holders);
  };
  const isFull = (key: Key) => key.kind === 'count' && (held.get(key.name)?.all.size ?? 0) >= key.max;
  const rivalsOf = (runId: string, key: BranchKey, isAbove: (holder: string) => boolean) => {
    const holders = held.get(key.name);
    const rivals = key.access === 'share' ? holders?.alone : holders?.all;
    return [...(rivals ?? [])].filter((holder) => holder !== runId && !isAbove(holder));
  };
  return {
    set(runId, keys, how) {
      const before = keysHeld.get(runId) ?? [];
      for (const { name } of before) drop(runId, name);
      const kept = how === 'none' ? [] : keys.filter(({ kind }) => how === 'at-work' || kind === 'branch');
      if (kept.length === 0) keysHeld.delete(runId);
      else keysHeld.set(runId, kept);
      for (const key of kept) take(runId, key);
      return before.some(({ name }) => !kept.some((key) => key.name === name));
    },
    allows: (runId, keys, isAbove) =>
      keys.every((key) => (key.kind === 'count' ? !isFull(key) : rivalsOf(runId, key, isAbove).length === 0)),
    isFull,
    rivals: (runId, keys, isAbove) =>
      keys.flatMap((key) => (key.kind === 'branch' ? rivalsOf(runId, key, isAbove) : [])),
    isHeldBy: (name, isMeant) => held.get(name)?.all.values().some(isMeant) ?? false,
    count: (name) => held.get(name)?.all.size ?? 0,
  };
}
