import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import Database from 'better-sqlite3';
import type { Recorded } from '#shared/contracts/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeProvider, FakeRequest, FakeScript } from '#test/helpers/fake-provider.ts';
import { agentScript, anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { Name, System } from '#test/helpers/system.ts';
import { serviceNames, startSystem } from '#test/helpers/system.ts';

const names = ['anna', 'bert', 'carl'];

const agents = names
  .map(
    (name) => `
[[agents]]
name = "${name}"
version = "1"
domain = "test"
priority = "high"
workstream = "main"
branch = "main"
repository = "$REPOSITORY"
capabilities = { primary = ["filesystem-read", "filesystem-write"], secondary = [] }
[[agents.objectives]]
id = "first"
description = "Look around, as ${name}"
deliverable = "first.md"
validation = "It is not empty"
[[agents.objectives]]
id = "second"
description = "Look around again, as ${name}"
deliverable = "second.md"
validation = "It is not empty"
depends_on = ["first"]
`,
  )
  .join('');

const hasEnded = ({ type }: Recorded) =>
  ['toka.run.completed.v1', 'toka.run.failed.v1', 'toka.run.cancelled.v1'].includes(type);

/** As `agentScript`, but its first tool call takes as long as a tool call may. */
const slowToolScript: FakeScript = (request, count) =>
  request.turns === 0 && request.forced === undefined
    ? { text: 'Slowly.', toolCalls: [{ tool: 'search_files', args: { pattern: '^(a+)+$', path: 'slow.txt' } }] }
    : agentScript(request, count);

type Harm = (system: System, provider: FakeProvider) => Promise<void>;

/** Brings the system up on a fake provider, does `harm` while agents work, and checks that nothing was lost, doubled or paid twice. */
async function survives(t: ExecutionContext, harm: Harm, script: FakeScript = agentScript): Promise<void> {
  await using provider = await startFakeProvider({ script, delayMs: 150 });
  await using system = await startSystem({
    agents,
    files: { 'docs/guide.md': '# A guide\n', 'slow.txt': `${'a'.repeat(60)}!` },
    environment: {
      ...anthropicAt(provider),
      // Without it a call that is made again would not reach the provider, and nobody would see it.
      RESPONSE_CACHE_ENABLED: 'false',
      TOOL_TIMEOUT: '2',
    },
  });
  await harm(system, provider);
  const runs = names.length * 2;
  await eventually(() => system.events.filter(hasEnded).length >= runs, 120_000).catch(async (error) => {
    t.log(await whatIsOpen(system));
    throw error;
  });
  t.deepEqual(
    system.events.filter(hasEnded).map(({ type }) => type),
    Array(runs).fill('toka.run.completed.v1'),
  );
  checkCalls(t, provider.requests, system.events);
  await checkArchive(t, system);
}

/** The runs that have not ended, each with its last events, and the ends of the logs. */
async function whatIsOpen({ events, folder }: System): Promise<string> {
  const runs = [...Map.groupBy(events, ({ subject }) => subject)].filter(
    ([, own]) => own[0]?.type === 'toka.run.queued.v1',
  );
  const open = runs.filter(([, own]) => !own.some(hasEnded));
  const lines = open.map(([subject, own]) =>
    [subject, ...own.slice(-6).map(({ seq, time, type }) => `${seq} ${time.slice(11)} ${type}`)].join('\n  '),
  );
  const logs = await Promise.all(
    serviceNames.map(async (name) => `${name}: ${(await readFile(join(folder, `${name}.log`), 'utf8')).slice(-1_500)}`),
  );
  return [...lines, ...logs].join('\n');
}

/** No model call was made again once its answer was in the log: of each run, each turn, and each verdict. */
function checkCalls(t: ExecutionContext, requests: readonly FakeRequest[], events: readonly Recorded[]): void {
  let recorded = 0;
  for (const event of events) {
    if (event.type !== 'toka.run.queued.v1') continue;
    const own = events.filter(({ subject }) => subject === event.subject);
    const asked = requests.filter(({ messages }) => messages[0]?.text.includes(`\n${event.data.work.description}\n`));
    for (const [turn, { time }] of own.filter(stepCompleted).entries()) {
      const calls = asked.filter(({ turns, forced }) => turns === turn && forced === undefined);
      t.true(calls.length > 0, 'each recorded answer came from the provider');
      t.true(
        calls.every(({ timeMs }) => timeMs <= Date.parse(time)),
        `${event.subject}: turn ${turn + 1} was asked again`,
      );
      recorded += 1;
    }
    for (const { time } of own.filter(({ type }) => type === 'toka.run.validated.v1')) {
      const calls = asked.filter(({ forced }) => forced === 'verdict');
      t.true(
        calls.length > 0 && calls.every(({ timeMs }) => timeMs <= Date.parse(time)),
        `${event.subject}: judged again`,
      );
      recorded += 1;
    }
  }
  t.true(recorded >= names.length * 2 * 5, String(recorded));
}

/** SQLite holds exactly the stream: each event once, in order, byte for byte. */
async function checkArchive(t: ExecutionContext, { bus, database }: System): Promise<void> {
  const last = await bus.lastSeq();
  const rows = await eventually(() => {
    const db = new Database(database, { readonly: true });
    try {
      const all = db.prepare('SELECT seq, bytes FROM events ORDER BY seq').all() as {
        seq: number;
        bytes: Uint8Array;
      }[];
      return all.length >= last ? all : undefined;
    } finally {
      db.close();
    }
  });
  const stop = new AbortController();
  let index = 0;
  for await (const raw of bus.follow({ from: 1, signal: stop.signal })) {
    t.is(rows[index]?.seq, raw.seq);
    if (!Buffer.from(raw.bytes).equals(Buffer.from(rows[index]?.bytes ?? [])))
      t.fail(`event ${raw.seq} is not what it was`);
    index += 1;
    if (raw.seq >= last) stop.abort();
  }
  t.true(index >= last);
}

const stepCompleted = ({ type }: Recorded) => type === 'toka.run.step-completed.v1';
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function killAndStart(system: System, name: Name, awayMs = 0): Promise<void> {
  await system.kill(name);
  await pause(awayMs);
  await system.start(name);
}

test.serial('a runner that is killed in the middle of model calls', async (t) => {
  await survives(t, async (system, provider) => {
    await system.saw(stepCompleted);
    const before = provider.requests.length;
    await eventually(() => provider.requests.length > before); // the provider takes its time: the call is under way
    await killAndStart(system, 'agent-runner');
  });
});

test.serial('a runner that is killed in the middle of a tool call', async (t) => {
  await survives(
    t,
    async (system) => {
      const { subject } = await system.saw(stepCompleted); // its first step calls the slow tool, which leaves no event before its end
      await pause(500);
      const returned = system.events.some(
        ({ type, subject: of }) => of === subject && type === 'toka.run.tool-returned.v1',
      );
      t.false(returned, 'the tool is still at work');
      await killAndStart(system, 'agent-runner');
    },
    slowToolScript,
  );
});

for (const victim of ['store', 'scheduler', 'llm-proxy'] as const) {
  test.serial(`a ${victim} that is killed while agents work`, async (t) => {
    await survives(t, async (system) => {
      await system.saw(stepCompleted);
      await killAndStart(system, victim, 500);
    });
  });
}

test.serial('a nats-server that is killed and started again on its data', async (t) => {
  await survives(t, async (system) => {
    await system.saw(stepCompleted);
    await system.nats.kill();
    await pause(300);
    await system.nats.start();
  });
});

test.serial('a redis-server that is killed and started again', async (t) => {
  await survives(t, async (system) => {
    await system.saw(stepCompleted);
    await system.redis.kill();
    await pause(300);
    await system.redis.start();
  });
});

test.serial('everything, one after the other, while agents work', async (t) => {
  await survives(t, async (system) => {
    await system.saw(stepCompleted);
    for (const name of serviceNames) await killAndStart(system, name);
    await system.nats.kill();
    await system.nats.start();
    for (const name of serviceNames.toReversed()) await killAndStart(system, name);
  });
});
