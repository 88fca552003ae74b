import type { LlmEvent } from '#shared/contracts/events.ts';
import type { Spender } from '#shared/contracts/store.ts';
import type { Database } from './database.ts';

export const spendingTable = `
  CREATE TABLE spending (
    dimension TEXT NOT NULL, value TEXT NOT NULL, day TEXT NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (dimension, value, day)
  ) WITHOUT ROWID;
`;

/** What calls cost, by whatever budgets are about: a sum over a month must not read each of its calls. */
export function openSpending(db: Database): (event: LlmEvent & { time: string }) => void {
  const add = db.prepare('INSERT INTO spending VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET usd = usd + excluded.usd');
  return ({ data, time }) => {
    const { provider, model, requestModel = model, agentId, workstream, key, costUsd } = data;
    if (costUsd === null || costUsd === 0) return;
    const values = { endpoint: provider, model: requestModel, agent: agentId, workstream, key };
    for (const [dimension, value] of Object.entries(values))
      if (typeof value === 'string') add.run(dimension, value, time.slice(0, 10), costUsd);
  };
}

export const selectSpending = (db: Database, { by, value, from, to }: Spender): number =>
  db
    .prepare<string[], { usd: number }>(
      'SELECT TOTAL(usd) AS usd FROM spending WHERE dimension = ? AND value = ? AND day BETWEEN ? AND ?',
    )
    .get(by, value, from, to)?.usd ?? 0;
