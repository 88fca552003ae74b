import test from 'ava';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { readOptions } from './options.ts';
import { table } from './report.ts';
import { runChaos } from './run.ts';

test('agents whose services, servers and ways are harmed all the time do all their work, and do it once', async (t) => {
  t.timeout(600_000);
  await using folder = await temporaryFolder();
  const args = ['--seed', '5', '--minutes', '0.4', '--agents', '6', '--at-once', '6', '--every', '1'];
  const sizes = { store: 1, 'llm-proxy': 2, scheduler: 2, 'agent-runner': 2, gateway: 1 };
  const lines: string[] = [];
  const summary = await runChaos({ ...readOptions(args), sizes, folder: folder.path }, (line) => lines.push(line));
  t.log(table(summary));
  t.deepEqual(summary.violations, [], lines.join('\n'));
  t.true((summary.figures.faults ?? 0) >= 8, `${summary.figures.faults} faults`);
  t.true((summary.figures.ended ?? 0) >= 6, `${summary.figures.ended} runs`);
});
