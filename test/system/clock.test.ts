import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import type { Recorded } from '#shared/contracts/events.ts';
import { agentScript, anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startSystem } from '#test/helpers/system.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const hourMs = 3_600_000;
/** Longer than the moving clock's processes take to look. */
const settleMs = 250;

test('ids of a process sort in the order in which they were made, however its clock is set', (t) => {
  const ids = execFileSync(process.execPath, ['test/fixtures/ids.ts'], { encoding: 'utf8' }).trim().split('\n');
  t.is(new Set(ids).size, 600);
  t.deepEqual(ids, ids.toSorted());
});

const agent = (name: string, more = '') => `
[[agents]]
name = "${name}"
version = "1.0.0"
domain = "test"
priority = "high"
workstream = "main"
branch = "main"
capabilities = { primary = ["filesystem-read"], secondary = [] }
limits = { timeout = 120 }
${more}
[[agents.objectives]]
description = "Work as ${name}."
deliverable = "a.md"
validation = "It is there"
`;

test('runs go on where the clock of every service is set ahead by an hour and back by two in their midst', async (t) => {
  await using folder = await temporaryFolder();
  const clock = join(folder.path, 'clock');
  const set = (offsetMs: number) => {
    writeFileSync(clock, String(offsetMs));
    return delay(settleMs);
  };
  await set(0);
  await using provider = await startFakeProvider({
    async script(request, count) {
      if (request.turns === 1 && request.conversation.includes('Work as ahead.')) await set(hourMs);
      if (request.turns === 1 && request.conversation.includes('Work as back.')) await set(-hourMs);
      return agentScript(request, count);
    },
  });
  await using system = await startSystem({
    agents: [agent('ahead'), agent('back', 'depends_on = ["ahead"]'), agent('last', 'depends_on = ["back"]')].join(''),
    environment: {
      NODE_OPTIONS: `--import=${resolve('test/fixtures/moving-clock.ts')}`,
      CLOCK_FILE: clock,
      ...anthropicAt(provider),
      RESPONSE_CACHE_ENABLED: 'false',
    },
  });
  for (const name of ['ahead', 'back', 'last']) {
    const queued = await system.saw(
      ({ type, data }) => type === 'toka.run.queued.v1' && 'agentId' in data && data.agentId === name,
    );
    const isOfRun = ({ subject }: Recorded) => subject === queued.subject;
    const end = await system.saw((event) => isOfRun(event) && /\.run\.(completed|failed|cancelled)\./.test(event.type));
    t.is(end.type, 'toka.run.completed.v1', `${name}: ${JSON.stringify(end.data)}`);
    const starts = system.events.filter((event) => isOfRun(event) && event.type === 'toka.run.started.v1');
    t.is(starts.length, 1, `${name} was begun once`);
  }
  const times = system.events.map(({ time }) => Date.parse(time) - Date.now());
  t.true(Math.max(...times) > hourMs / 2, 'some were written an hour ahead');
  t.true(Math.min(...times) < -hourMs / 2, 'and some an hour behind');
});
