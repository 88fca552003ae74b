import { join, relative } from 'node:path';
import type { Row } from './progress.ts';
import { columns, plain } from './words.ts';

const money = (usd: number | null | undefined) => (usd === null ? 'unknown' : `$${(usd ?? 0).toFixed(4)}`);

/** What came of each objective, as a table. */
export function summary(rows: readonly Row[], deliverables: string): string {
  const lines = rows.map(({ agent, work, result, run }) => {
    const { inputTokens = 0, outputTokens = 0, costUsd } = run?.usage ?? {};
    const name = run?.status === 'completed' ? run.deliverable?.name : undefined;
    return [
      agent,
      work,
      result,
      String(run?.steps ?? 0),
      String(inputTokens + outputTokens),
      money(run ? costUsd : 0),
      name === undefined ? '' : relative(process.cwd(), join(deliverables, agent, work, name)),
    ];
  });
  const reasons = rows.flatMap(({ agent, work, run }) =>
    run?.status === 'failed' ? [`  ${agent}/${work}: ${plain(run.error?.message ?? '', 300)}`] : [],
  );
  return [
    columns([['agent', 'objective', 'result', 'steps', 'tokens', 'cost', 'deliverable'], ...lines]),
    ...reasons,
  ].join('\n');
}
