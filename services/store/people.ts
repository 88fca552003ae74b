import type { MemoryEvent, Recorded, RunEvent } from '#shared/contracts/events.ts';
import { isAgentEvent, isMemoryEvent, isRunEvent } from '#shared/contracts/events.ts';
import type { ApprovalView, Memory } from '#shared/contracts/store.ts';
import type { Agent } from '#shared/domain/agent.ts';
import { notRegistered } from '#shared/domain/registered.ts';
import type { Run } from '#shared/domain/run.ts';
import { hasEnded } from '#shared/domain/run.ts';
import type { Database } from './database.ts';
import type { Filters } from './select.ts';
import { where } from './select.ts';

/** What people are asked, and what agents keep from run to run. */
export const peopleTables = `
  CREATE TABLE approvals (id TEXT PRIMARY KEY, run TEXT NOT NULL, agent TEXT NOT NULL, open INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
  CREATE INDEX approvals_by_run ON approvals (run);
  CREATE INDEX approvals_by_open ON approvals (open, id);
  CREATE TABLE memories (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, run TEXT, time TEXT NOT NULL, text TEXT NOT NULL
  );
  CREATE INDEX memories_by_agent ON memories (agent, number);
  CREATE VIRTUAL TABLE memory_words USING fts5(text);
`;
export const peopleTableNames = ['approvals', 'memories', 'memory_words'];

/** What has been folded so far. */
type Known = { agent(id: string): Agent | undefined; run(id: string): Run | undefined };

/** Whether a run is one of the agent as it lives now, and not of an earlier one of that name. */
export const isOfLife = (agent: Agent | undefined, run: Run | undefined): boolean =>
  agent !== undefined && agent.status !== 'removed' && run?.agentId === agent.id && run.first > agent.born;

/** Folds events into those tables. */
export function openPeople(db: Database, known: Known) {
  const ask = db.prepare('INSERT OR IGNORE INTO approvals VALUES (?, ?, ?, 1, ?)');
  const find = db.prepare<[string], { state: string }>('SELECT state FROM approvals WHERE id = ?');
  const decide = db.prepare('UPDATE approvals SET open = 0, state = ? WHERE id = ?');
  const close = db.prepare('UPDATE approvals SET open = 0 WHERE run = ?');
  const keep = db.prepare('INSERT OR IGNORE INTO memories (id, agent, run, time, text) VALUES (?, ?, ?, ?, ?)');
  const index = db.prepare('INSERT INTO memory_words (rowid, text) VALUES (?, ?)');
  const number = db.prepare<[string, string], { number: number }>(
    'SELECT number FROM memories WHERE id = ? AND agent = ?',
  );
  const forget = [
    db.prepare('DELETE FROM memories WHERE number = ?'),
    db.prepare('DELETE FROM memory_words WHERE rowid = ?'),
  ];

  const forgetRun = [
    db.prepare('DELETE FROM memory_words WHERE rowid IN (SELECT number FROM memories WHERE run = ?)'),
    db.prepare('DELETE FROM memories WHERE run = ?'),
  ];
  const forgetAll = [
    db.prepare('DELETE FROM memory_words WHERE rowid IN (SELECT number FROM memories WHERE agent = ?)'),
    db.prepare('DELETE FROM memories WHERE agent = ?'),
  ];

  const applyMemory = (agent: string, event: Recorded<MemoryEvent>) => {
    if (event.type === 'toka.memory.remembered.v1') {
      const { id, text, runId } = event.data;
      const run = runId === null ? undefined : known.run(runId);
      // One that comes late, or from whoever may write here and should not, is not the agent's own.
      if (runId === null || !run || hasEnded(run) || !isOfLife(known.agent(agent), run)) return;
      const { changes, lastInsertRowid } = keep.run(id, agent, runId, event.time, text);
      if (changes > 0) index.run(lastInsertRowid, text);
    } else {
      const row = number.get(event.data.id, agent);
      if (row) for (const statement of forget) statement.run(row.number);
    }
  };
  const applyRun = (event: Recorded<RunEvent>, run: Run) => {
    if (event.type === 'toka.run.approval-requested.v1') {
      // Its runner had not heard yet that somebody cancelled it: nobody is asked any more.
      if (hasEnded(run)) return;
      const { agentId, definition } = run;
      const { id: runId } = run;
      const facts = { runId, agentId, workstream: definition.workstream, requestedAt: event.time, decided: null };
      ask.run(event.data.id, runId, agentId, JSON.stringify({ ...event.data, ...facts } satisfies ApprovalView));
    } else if (event.type === 'toka.run.approval-decided.v1') {
      const row = find.get(event.data.approvalId);
      const decided = { ...event.data, by: event.actor, at: event.time };
      if (row) decide.run(JSON.stringify({ ...JSON.parse(row.state), decided }), event.data.approvalId);
    } else if (hasEnded(run)) close.run(run.id);
    // Nobody had asked for it: what it has put into its agent's memory meanwhile is not the agent's.
    if (event.type === 'toka.run.failed.v1' && event.data.code === notRegistered)
      for (const statement of forgetRun) statement.run(run.id);
  };
  return {
    apply(event: Recorded, run: Run | undefined): void {
      if (isRunEvent(event) && run) applyRun(event, run);
      const id = event.subject.slice(event.subject.indexOf('/') + 1);
      if (isMemoryEvent(event)) applyMemory(id, event);
      // An agent that is registered under this name later is another one.
      if (isAgentEvent(event) && event.type === 'toka.agent.removed.v1')
        for (const statement of forgetAll) statement.run(id);
    },
  };
}

/** Approvals, the newest first, one more than `limit`. */
export function selectApprovals(db: Database, filters: Filters, limit: number): { id: string; state: string }[] {
  const { sql, values } = where(filters);
  return db
    .prepare<unknown[], { id: string; state: string }>(
      `SELECT id, state FROM approvals WHERE ${sql} ORDER BY id DESC LIMIT ?`,
    )
    .all(...values, limit + 1);
}

export function selectApproval(db: Database, id: string): ApprovalView | undefined {
  const row = db.prepare<[string], { state: string }>('SELECT state FROM approvals WHERE id = ?').get(id);
  return row && JSON.parse(row.state);
}

const wordsMax = 32;

/** An agent's facts that have any of the words, the best first; without words, the newest. */
export function searchMemory(db: Database, agent: string, query: string | undefined, limit: number): Memory[] {
  // Each word is quoted: nothing of a query is taken for the search's own language.
  const words = (query?.match(/[\p{L}\p{N}]+/gu) ?? []).slice(0, wordsMax).map((word) => `"${word}"`);
  const columns = 'SELECT id, memories.text, run AS runId, time FROM memories';
  if (words.length === 0)
    return db
      .prepare<[string, number], Memory>(`${columns} WHERE agent = ? ORDER BY number DESC LIMIT ?`)
      .all(agent, limit);
  return db
    .prepare<[string, string, number], Memory>(
      `${columns} JOIN memory_words ON memory_words.rowid = number
       WHERE memory_words MATCH ? AND agent = ? ORDER BY bm25(memory_words), number DESC LIMIT ?`,
    )
    .all(words.join(' OR '), agent, limit);
}

/** An agent's facts, the newest first, one more than `limit`; or the one of an id. */
export function selectMemories(db: Database, filters: Filters, limit: number): MemoryRow[] {
  const { sql, values } = where(filters);
  return db
    .prepare<unknown[], MemoryRow>(
      `SELECT number, json_object('id', id, 'text', text, 'runId', run, 'time', time) AS view FROM memories
       WHERE ${sql} ORDER BY number DESC LIMIT ?`,
    )
    .all(...values, limit + 1);
}
type MemoryRow = { number: number; view: string };
