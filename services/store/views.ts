import type { Recorded } from '#shared/contracts/events.ts';
import { isAgentEvent, isRunEvent } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import * as agents from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import * as runs from '#shared/domain/run.ts';
import { clip } from '#shared/text.ts';
import type { Database, Meta } from './database.ts';
import { openFolded } from './folded.ts';
import { listedNames, listedTables, openListed } from './listed.ts';
import { openPeople, peopleTableNames, peopleTables } from './people.ts';
import { openSpending, spendingTable } from './spending.ts';
import type { Archived } from './uses.ts';
import { openUses, usesNames, usesTables } from './uses.ts';

/** Raise it when a view or a fold changes: the views are then made anew from the events. */
const version = 10;
const textCharsMax = 4_000;

const tables = `
  CREATE TABLE agents (
    id TEXT PRIMARY KEY, state TEXT NOT NULL,
    status TEXT NOT NULL, workstream TEXT NOT NULL, domain TEXT NOT NULL, priority TEXT NOT NULL,
    born INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE runs (
    id TEXT PRIMARY KEY, state TEXT NOT NULL,
    agent TEXT NOT NULL, work TEXT NOT NULL, status TEXT NOT NULL, workstream TEXT NOT NULL,
    domain TEXT NOT NULL, priority TEXT NOT NULL, queued TEXT NOT NULL
  );
  CREATE INDEX runs_by_agent ON runs (agent, work, id);
  CREATE INDEX runs_by_status ON runs (status, id);
  CREATE INDEX runs_by_queued ON runs (queued);
  CREATE TABLE steps (
    run TEXT NOT NULL, step INTEGER NOT NULL, view TEXT NOT NULL,
    PRIMARY KEY (run, step)
  ) WITHOUT ROWID;
  CREATE TABLE usage (
    agent TEXT NOT NULL, run TEXT NOT NULL, model TEXT NOT NULL, day TEXT NOT NULL, key TEXT NOT NULL,
    calls INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, cost REAL NOT NULL, unpriced INTEGER NOT NULL,
    PRIMARY KEY (agent, run, model, day, key)
  ) WITHOUT ROWID;
  ${peopleTables}
  ${listedTables}
  ${spendingTable}
  ${usesTables}
`;
const names = ['agents', 'runs', 'steps', 'usage', 'spending', ...listedNames, ...peopleTableNames, ...usesNames];

/** What is asked for, folded from the events by the same pure functions that the writers decide with. */
export function openViews(db: Database, meta: Meta) {
  makeTables(db, meta);
  const agentStates = openFolded<Agent>(
    {
      select: db.prepare('SELECT state FROM agents WHERE id = ?'),
      insert: db.prepare(
        'INSERT OR REPLACE INTO agents VALUES (@id, @state, @status, @workstream, @domain, @priority, @born)',
      ),
      update: db.prepare('UPDATE agents SET state = @state WHERE id = @id'),
    },
    ({ status, born, spec: { workstream, domain, priority } }) => ({
      ...{ status, workstream, domain, priority },
      born: String(born),
    }),
  );
  const runStates = openFolded<Run>(
    {
      select: db.prepare('SELECT state FROM runs WHERE id = ?'),
      insert: db.prepare(
        'INSERT OR REPLACE INTO runs VALUES (@id, @state, @agent, @work, @status, @workstream, @domain, @priority, @queued)',
      ),
      update: db.prepare('UPDATE runs SET state = @state WHERE id = @id'),
    },
    columnsOfRun,
  );
  const insertStep = db.prepare('INSERT OR REPLACE INTO steps VALUES (?, ?, ?)');
  const addUsage = db.prepare(
    `INSERT INTO usage VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + 1,
     input = input + excluded.input, output = output + excluded.output, cost = cost + excluded.cost, unpriced = unpriced + excluded.unpriced`,
  );

  const listed = openListed(db);
  const folded = [agentStates, runStates, ...listed.folded];
  const people = openPeople(db, { agent: agentStates.get, run: runStates.get });
  const addSpending = openSpending(db);
  const noteUses = openUses(db);

  return {
    /** Sequence of the last event that is in the views. */
    seq: () => Number(meta.get('views-seq') ?? 0),
    /** `event` is undefined where a newer version wrote what was archived. */
    apply(archived: Archived, event: Recorded | undefined): void {
      noteUses(archived, event);
      if (!event) return;
      const id = event.subject.slice(event.subject.indexOf('/') + 1);
      if (isAgentEvent(event)) agentStates.evolve(id, (agent) => agents.evolve(agent, event));
      let run: Run | undefined;
      if (isRunEvent(event)) {
        run = runStates.evolve(id, (state) => runs.evolve(state, event));
        if (run && event.type === 'toka.run.step-completed.v1')
          insertStep.run(id, run.steps, JSON.stringify(stepView(run, event)));
      }
      listed.apply(id, event);
      people.apply(event, run);
      if (event.type === 'toka.llm.called.v1') {
        const { agentId, runId, model, usage, costUsd, key } = event.data;
        const { inputTokens, outputTokens } = usage;
        const row = [agentId ?? '', runId ?? '', model, event.time.slice(0, 10), key];
        addUsage.run(...row, inputTokens, outputTokens, costUsd ?? 0, costUsd === null ? 1 : 0);
        addSpending(event);
      }
    },
    /** Writes what has changed: the views are then as of `seq`. */
    flush(seq: number): void {
      for (const each of folded) each.flush();
      meta.set('views-seq', seq);
    },
    /** A transaction was undone: so is what was folded in it. */
    forget(): void {
      for (const each of folded) each.forget();
    },
  };
}

/** Empty ones, unless they are there in this version. */
function makeTables(db: Database, meta: Meta): void {
  if (meta.get('views-version') === String(version)) return;
  db.transaction(() => {
    for (const name of names) db.exec(`DROP TABLE IF EXISTS ${name}`);
    db.exec(tables);
    meta.set('views-version', version);
    meta.set('views-seq', 0);
  })();
}

const columnsOfRun = ({ agentId, work, status, definition, queuedAt }: Run) => ({
  agent: agentId,
  work: work.id,
  status,
  workstream: definition.workstream,
  domain: definition.domain,
  priority: work.priority,
  queued: queuedAt,
});

type StepCompleted = Extract<Recorded, { type: 'toka.run.step-completed.v1' }>;

const stepView = (run: Run, { seq, time, data }: StepCompleted) => ({
  runId: run.id,
  step: run.steps,
  seq,
  time,
  provider: data.provider,
  model: data.model,
  tools: data.calls.map(({ tool }) => tool),
  text: 'text' in data.answer ? clip(data.answer.text, textCharsMax) : '',
  inputTokens: data.usage.inputTokens,
  outputTokens: data.usage.outputTokens,
  costUsd: data.costUsd,
  latencyMs: data.latencyMs,
  cache: data.cache,
});
