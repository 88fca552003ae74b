import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openArtifactKeeper, openTrimmer } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import { createClient } from '#shared/client/client.ts';
import { getArchive } from '#shared/contracts/store.ts';
import { artifactsBucket, eventsStream, objectStream } from '#shared/contracts/subjects.ts';
import { collectArtifacts } from '#shared/keeper/collect-artifacts.ts';
import { trimLog } from '#shared/keeper/trim-log.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import { passwordOf } from '#test/helpers/servers.ts';
import type { System } from '#test/helpers/system.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';
import { atATime } from './runner/batch.ts';

const usualRuns = 1_000;
const atOnce = 8;
const page = 'A sentence of a report that says what was found, and where. '.repeat(70); // 4 KiB

const call = (tool: string, args: Record<string, unknown>): FakeReply => ({ text: '', toolCalls: [{ tool, args }] });

/** Reads a page, writes another, checks it and hands in a third: no two runs have the same. */
function script({ forced, turns }: FakeRequest, count: number): FakeReply {
  if (forced === 'verdict') return call('verdict', { pass: true, reasons: [] });
  if (turns === 0) return call('read_file', { path: 'README.md' });
  if (turns === 1) return call('write_file', { path: 'notes.md', content: `${count}: ${page}\n` });
  if (turns === 2) return call('shell', { command: 'wc notes.md; git status --short' });
  return call('submit_deliverable', { summary: 'A report.', content: `${count}: ${page}` });
}

/** `npm run bench -- disk [--runs N]`: what 1,000 runs take on the disk, before and after the keeper has taken away all that it may. */
export async function disk(args: string[]): Promise<void> {
  const at = args.indexOf('--runs');
  const runs = at === -1 ? usualRuns : Number(args[at + 1]);
  await using provider = await startFakeProvider({ script });
  await using system = await startSystem({
    agents: '',
    files: { 'README.md': page },
    environment: {
      ...anthropicAt(provider),
      RATE_LIMIT_REQUESTS: '1000000',
      HTTP_RATE_LIMIT_REQUESTS: '1000000',
      MAX_CONCURRENT_AGENTS: String(atOnce),
    },
  });
  const toka = createClient({ url: system.api, token: await tokenOf('admin') });
  await toka.createAgent({
    body: agentInput({
      name: 'reporter',
      repository: join(system.folder, 'repository'),
      capabilities: { primary: ['filesystem-write', 'shell'], secondary: [] },
    }),
  });
  const empty = await sizesOf(system);
  await atATime(atOnce, runs, async () => {
    const run = await toka.startRun({ id: 'reporter', body: { input: 'Write a report.' } }, { waitSeconds: 120 });
    if (run.status !== 'completed') throw new Error(`${run.id} is ${run.status}: ${run.error?.message ?? ''}`);
  });
  const before = await sizesOf(system);
  await keep(system);
  const after = await sizesOf(system);
  const per = (sizes: Sizes, name: keyof Sizes) => `${(((sizes[name] - empty[name]) / runs) * 1_000) / 1024 ** 2}`;
  const shown = (value: string) => `${Number(value).toFixed(1)} MiB`.padStart(12);
  process.stdout.write(
    `\n${runs} runs, ${provider.requests.length} model calls, ${await system.bus.lastSeq()} events; for 1,000 runs:\n`,
  );
  for (const name of ['log', 'artifacts', 'archive'] as const)
    process.stdout.write(`  ${name.padEnd(10)} ${shown(per(before, name))} -> ${shown(per(after, name))}\n`);
}

type Sizes = { log: number; artifacts: number; archive: number };

/** Bytes of the messages that NATS keeps, whose files follow once half of one is of none; and of the archive's file. */
async function sizesOf({ bus, database }: System): Promise<Sizes> {
  const { streams } = await bus.state();
  const bytesOf = (stream: string) => streams.find(({ name }) => name === stream)?.bytes ?? 0;
  return {
    log: bytesOf(eventsStream),
    artifacts: bytesOf(objectStream(artifactsBucket)),
    archive: (await stat(database)).size,
  };
}

/** As the keeper does when all of this is old. */
async function keep({ nats, bus }: System): Promise<void> {
  const last = await bus.lastSeq();
  await bus.ask(getArchive, { minSeq: last });
  const admin = { url: nats.url, user: adminUser, password: passwordOf(adminUser), leaseMs: 1_000, replicas: 1 };
  await using log = await openTrimmer({ ...admin, name: 'keeper' });
  await using artifacts = await openArtifactKeeper({ ...admin, name: 'keeper' });
  await trimLog(log, { maxAgeMs: 1, maxBytes: 0 }, { archivedTo: last, nowMs: Date.now() + 1_000, youngMs: 0 });
  const { objects } = await collectArtifacts({ artifacts, bus }, { DELIVERABLES_MAX_AGE: 0 }, { keptMs: 0 });
  process.stdout.write(`\n${objects} artifacts were taken away`);
}
