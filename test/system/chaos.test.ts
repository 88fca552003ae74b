import type { ExecutionContext } from 'ava';
import test from 'ava';
import Database from 'better-sqlite3';
import type { Recorded } from '#shared/contracts/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { agentScript, startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { System } from '#test/helpers/system.ts';
import { startSystem } from '#test/helpers/system.ts';

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

/** Brings the system up on a fake provider, does `harm` while agents work, and checks that nothing was lost, doubled or paid twice. */
async function survives(t: ExecutionContext, harm: (system: System) => Promise<void>): Promise<void> {
  await using provider = await startFakeProvider({ script: agentScript, delayMs: 60 });
  await using system = await startSystem({
    agents,
    files: { 'docs/guide.md': '# A guide\n', 'src/main.ts': 'export const answer = 42;\n' },
    environment: {
      LLM_PROVIDER: 'anthropic',
      ANTHROPIC_API_KEY: 'key-of-the-tests',
      ANTHROPIC_BASE_URL: provider.url,
      LLM_MODEL: 'claude-test',
      RESPONSE_CACHE_ENABLED: 'false',
    },
  });
  await harm(system);
  const runs = names.length * 2;
  await eventually(() => system.events.filter(hasEnded).length >= runs, 60_000);
  t.deepEqual(
    system.events.filter(hasEnded).map(({ type }) => type),
    Array(runs).fill('toka.run.completed.v1'),
  );
  checkCalls(t, provider.requests, system.events);
  await checkArchive(t, system);
}

/** No model call whose answer was in the log was made again: each later request for the same turn came before it was recorded. */
function checkCalls(
  t: ExecutionContext,
  requests: readonly { timeMs: number; conversation: string }[],
  events: readonly Recorded[],
): void {
  const answered = events.filter(
    ({ type }) => type === 'toka.run.step-completed.v1' || type === 'toka.run.validated.v1',
  );
  t.true(requests.length >= answered.length, 'every recorded answer came from the provider');
  const times = Map.groupBy(requests, ({ conversation }) => conversation);
  const repeated = [...times.values()].filter((each) => each.length > 1);
  const spare = requests.length - answered.length;
  t.true(
    repeated.reduce((sum, each) => sum + each.length - 1, 0) <= spare,
    'a conversation was asked twice only where an answer was never recorded',
  );
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

const toolCalled = ({ type }: Recorded) => type === 'toka.run.tool-called.v1';
const stepCompleted = ({ type }: Recorded) => type === 'toka.run.step-completed.v1';
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test.serial('a runner that is killed in the middle of model calls', async (t) => {
  await survives(t, async (system) => {
    await system.saw(stepCompleted);
    await pause(30); // the next model calls are under way
    await system.kill('agent-runner');
    await system.start('agent-runner');
  });
});

test.serial('a runner that is killed in the middle of a tool call', async (t) => {
  await survives(t, async (system) => {
    await system.saw(toolCalled);
    await system.kill('agent-runner');
    await system.start('agent-runner');
  });
});

for (const victim of ['store', 'scheduler', 'llm-proxy'] as const) {
  test.serial(`a ${victim} that is killed while agents work`, async (t) => {
    await survives(t, async (system) => {
      await system.saw(stepCompleted);
      await system.kill(victim);
      await pause(500);
      await system.start(victim);
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
