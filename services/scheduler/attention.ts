import TinyQueue from 'tinyqueue';
import type { Run } from '#shared/domain/run.ts';
import type { Board, Touched } from './board.ts';
import { waitsFor } from './due.ts';

type Kind = 'agent' | 'run';

/** What is to be looked at: whatever something has happened to, or to what it waits for, and what has a time that has come. */
export type Attention = {
  /** Something has happened. */
  touched(what: Touched): void;
  add(kind: Kind, id: string): void;
  /** To be looked at at a time (epoch milliseconds) though nothing happens; once too often does no harm. */
  later(kind: Kind, id: string, atMs: number): void;
  /** Takes all that is to be looked at at `nowMs`. */
  take(nowMs: number): Record<Kind, string[]>;
};

export function createAttention(board: Board): Attention {
  const noted = { agent: new Set(board.agents.keys()), run: new Set(board.active.keys()) };
  const timers = createTimers();
  const runsOf = createIndex();
  const waitingFor = createIndex();
  const childrenOf = createIndex();

  const note = (ids: Iterable<string>) => {
    for (const id of ids) noted.run.add(id);
  };
  const index = (run: Run, isOpen: boolean) => {
    const isWaiting = isOpen && run.status === 'queued';
    runsOf.put(run.agentId, run.id, isOpen);
    if (run.parent) childrenOf.put(run.parent.runId, run.id, isOpen);
    const names = isWaiting ? waitsFor(run) : [run.agentId, ...run.work.dependsOnAgents];
    for (const name of names) waitingFor.put(name, run.id, isWaiting);
  };
  for (const run of board.active.values()) index(run, true);
  return {
    touched({ agent, run, ended = false }) {
      if (agent) {
        noted.agent.add(agent.id);
        note(runsOf.get(agent.id));
        note(waitingFor.get(agent.id));
      }
      if (!run) return;
      index(run, !ended);
      if (!ended) return void noted.run.add(run.id);
      noted.run.delete(run.id);
      timers.drop('run', run.id);
      noted.agent.add(run.agentId);
      note(waitingFor.get(run.agentId));
      note(childrenOf.get(run.id));
      if (run.parent && board.active.has(run.parent.runId)) noted.run.add(run.parent.runId);
    },
    add: (kind, id) => void noted[kind].add(id),
    later: timers.add,
    take(nowMs) {
      for (const { kind, id } of timers.until(nowMs)) noted[kind].add(id);
      const taken = { agent: [...noted.agent], run: [...noted.run] };
      noted.agent.clear();
      noted.run.clear();
      return taken;
    },
  };
}

/** Ids by what they belong to. */
function createIndex() {
  const sets = new Map<string, Set<string>>();
  return {
    get: (key: string): ReadonlySet<string> => sets.get(key) ?? new Set(),
    put(key: string, id: string, isIn: boolean): void {
      const set = sets.get(key);
      if (isIn) sets.set(key, (set ?? new Set()).add(id));
      else if (set?.delete(id) && set.size === 0) sets.delete(key);
    },
  };
}

type Timer = { atMs: number; kind: Kind; id: string };

const byTime = (a: Timer, b: Timer) => a.atMs - b.atMs;
const nameOf = ({ kind, id }: Pick<Timer, 'kind' | 'id'>) => `${kind} ${id}`;
const needlessMax = 1_000;

export function createTimers() {
  let queue = new TinyQueue<Timer>([], byTime);
  /** The next time of each: an earlier one makes those after it needless, for who is looked at then says when to look again. */
  const next = new Map<string, Timer>();
  const tidy = () => {
    if (queue.length > 2 * next.size + needlessMax) queue = new TinyQueue([...next.values()], byTime);
  };
  return {
    add(kind: Kind, id: string, atMs: number): void {
      const timer = { atMs, kind, id };
      const name = nameOf(timer);
      if ((next.get(name)?.atMs ?? Number.POSITIVE_INFINITY) <= atMs) return;
      next.set(name, timer);
      queue.push(timer);
      tidy();
    },
    drop(kind: Kind, id: string): void {
      next.delete(nameOf({ kind, id }));
      tidy();
    },
    *until(nowMs: number): Generator<Timer> {
      for (let first = queue.peek(); first && first.atMs <= nowMs; first = queue.peek()) {
        queue.pop();
        const name = nameOf(first);
        if (next.get(name) !== first) continue;
        next.delete(name);
        yield first;
      }
    },
    size: () => queue.length,
  };
}
