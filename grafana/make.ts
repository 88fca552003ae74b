import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { agent } from './agent.ts';
import { llm } from './llm.ts';
import { orchestration } from './orchestration.ts';
import { system } from './system.ts';

// Writes the dashboards that Grafana reads: node grafana/make.ts. With --check it says which are not what it would write.

const isCheck = process.argv.includes('--check');
for (const [name, dashboard] of Object.entries({ orchestration, agent, llm, system })) {
  const file = `grafana/dashboards/${name}.json`;
  const text = `${JSON.stringify(dashboard, undefined, 2)}\n`;
  const isCurrent = existsSync(file) && readFileSync(file, 'utf8') === text;
  if (isCurrent) continue;
  if (isCheck) {
    console.error(`${file} is not what grafana/make.ts makes of its source: run node grafana/make.ts`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, text);
    console.log(`wrote ${file}`);
  }
}
