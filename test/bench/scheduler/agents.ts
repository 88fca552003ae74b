import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { getScheduling } from '#shared/contracts/scheduling.ts';
import { metricsSubject } from '#shared/contracts/subjects.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { atATime } from '../runner/batch.ts';
import { startModule } from '../runner/process.ts';
import { openServices } from './services.ts';

const writer = { source: '/toka/gateway/bench', actor: 'service:gateway' };
const runners = 2;
const slots = 1_000;
const latencyMs = 2_000;

const say = (line: string) => process.stdout.write(`${line}\n`);

/** So many agents, each with one run of one model call of two seconds: whether all end well, and what each process took. */
export async function manyAgents(program: string, count: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { folder, url, bus, open, pids: opened } = await openServices(stack, program, 100);
  const pids: Record<string, number> = { ...opened };
  pids.model = stack.use(await startModule('test/bench/runner/model.ts', [url, '', String(latencyMs)])).pid;
  for (let index = 1; index <= runners; index++)
    pids[`runner ${index}`] = await open('services/agent-runner/main.ts', {
      ...{ MAX_CONCURRENT_AGENTS: String(slots), REPOSITORY_ROOTS: folder },
      ...{ WORKSPACE_DIR: `${folder}/workspaces-${index}`, DELIVERABLES_DIR: `${folder}/deliverables` },
    });
  const watched = createWatch(bus);
  const startedMs = performance.now();
  await atATime(128, count, async (index) => {
    const spec = agentSpec({ name: `agent-${index}`, schedule: '0 0 1 1 *', workstream: `stream-${index % 20}` });
    const data = { spec, origin: 'api' as const };
    await bus.append(newEvent({ type: 'toka.agent.registered.v1', data }, `agent/${spec.name}`, writer), 0);
    const [work] = worksOf(spec);
    if (!work) return;
    const id = newId('run');
    const run: DataOf<'toka.run.queued.v1'> = {
      ...{ agentId: spec.name, trigger: 'api', since: id, definition: definitionOf(spec), parent: null },
      work: { ...work, deliverable: null, validation: null },
    };
    await bus.append(newEvent({ type: 'toka.run.queued.v1', data: run }, `run/${id}`, writer), 0);
  });
  say(`${count} agents and their runs are on the log after ${seconds(startedMs)} s`);
  await eventually(async () => {
    const { session } = await bus.ask(getScheduling, {});
    await watched.look();
    await delay(500);
    return session && session.queued === count && session.completed + session.failed === count ? session : undefined;
  }, 600_000);
  const { session } = await bus.ask(getScheduling, {});
  say(`all ended after ${seconds(startedMs)} s: ${session?.completed} completed, ${session?.failed} failed`);
  say(`at work at a time: ${watched.most()} at most`);
  let sum = 0;
  for (const [name, pid] of Object.entries(pids)) {
    const peak = await peakMib(pid);
    if (name !== 'model') sum += peak;
    say(`  ${name.padEnd(10)} peak memory ${peak.toFixed(0).padStart(5)} MiB`);
  }
  say(`  in all, without the model that stands for the llm-proxy: ${sum.toFixed(0)} MiB (wanted: less than 1,536)`);
  for (const [name, ms] of watched.delays())
    say(`  ${name.padEnd(14)} event loop delay p99 ${ms.toFixed(0)} ms at most`);
}

const seconds = (sinceMs: number) => ((performance.now() - sinceMs) / 1000).toFixed(1);

const peakMib = async (pid: number) =>
  Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

const Metrics = z.array(
  z.looseObject({ name: z.string(), values: z.array(z.looseObject({ value: z.number().nullable() })) }),
);

/** What the services say of themselves while it lasts. */
function createWatch(bus: Bus) {
  const worst = new Map<string, number>();
  let most = 0;
  return {
    async look() {
      let active = 0;
      for (const answer of await bus.askEach(metricsSubject, 300)) {
        const parsed = Metrics.safeParse(answer);
        if (!parsed.success) continue;
        const of = (name: string) => parsed.data.find((metric) => metric.name === name)?.values[0];
        const delayS = of('nodejs_eventloop_lag_p99_seconds');
        active += of('toka_runs_active')?.value ?? 0;
        const service = String((delayS?.labels as { service?: string } | undefined)?.service ?? '');
        worst.set(service, Math.max(worst.get(service) ?? 0, (delayS?.value ?? 0) * 1000));
      }
      most = Math.max(most, active);
    },
    most: () => most,
    delays: () => [...worst],
  };
}
