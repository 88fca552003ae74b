import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '#test/helpers/eventually.ts';
import { docker, openStack } from '#test/helpers/stack.ts';

const services = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'];
const idleMs = 30_000;

/** How long the stack takes from nothing (with its images here) to the first deliverable, and what its services hold when idle. */
export async function stack(): Promise<void> {
  await using opened = await openStack();
  await opened.compose('build', 'check-settings');
  const startedMs = performance.now();
  const seconds = () => ((performance.now() - startedMs) / 1000).toFixed(1);
  await opened.compose('up', '-d', '--no-build', ...opened.services);
  console.log(`docker compose up -d returned after ${seconds()} s`);
  await eventually(async () => {
    const { items } = (await (await fetch(`${opened.management}/agents/status`)).json()) as {
      items: { works: { completed: number } }[];
    };
    return items.some(({ works }) => works.completed > 0);
  }, 120_000);
  console.log(`the first deliverable after ${seconds()} s`);

  await delay(idleMs);
  const ids = await Promise.all(services.map((service) => opened.containers(service)));
  const lines = await docker('stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}}', ...ids.flat());
  let sum = 0;
  for (const line of lines.split('\n')) {
    const [, name, used, unit] = /^(\S+) ([\d.]+)(KiB|MiB|GiB)/.exec(line) ?? [];
    const mebibytes = Number(used) * { KiB: 1 / 1024, MiB: 1, GiB: 1024 }[unit as 'MiB'];
    console.log(`  ${name?.split('-').slice(-3, -1).join('-').padEnd(14)} ${mebibytes.toFixed(0).padStart(5)} MiB`);
    sum += mebibytes;
  }
  console.log(`idle memory of the five services: ${sum.toFixed(0)} MiB`);
}
