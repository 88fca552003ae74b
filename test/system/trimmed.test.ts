import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'ava';
import { openTrimmer } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import { createClient } from '#shared/client/client.ts';
import { getArchive } from '#shared/contracts/store.ts';
import { trimLog } from '#shared/keeper/trim-log.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import { passwordOf } from '#test/helpers/servers.ts';
import type { System } from '#test/helpers/system.ts';
import { serviceNames, startSystem, tokenOf } from '#test/helpers/system.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const call = (tool: string, args: Record<string, unknown>): FakeReply => ({ text: '', toolCalls: [{ tool, args }] });

/** Asks a person before it writes, and hands in what it was told. */
function script({ forced, turns, conversation }: FakeRequest): FakeReply {
  if (forced === 'verdict') return call('verdict', { pass: true, reasons: [] });
  if (turns === 0 && conversation.includes('ask first')) return call('ask_human', { question: 'Which one?' });
  return call('submit_deliverable', { summary: 'Done.', content: `turn ${turns}` });
}

/** As the keeper does where everything is old: only the last event stays. */
async function trimAll({ nats, bus }: System): Promise<void> {
  const last = await bus.lastSeq();
  await bus.ask(getArchive, { minSeq: last });
  const admin = { url: nats.url, user: adminUser, password: passwordOf(adminUser), leaseMs: 1_000, replicas: 1 };
  await using log = await openTrimmer({ ...admin, name: 'keeper' });
  await trimLog(
    log,
    { maxAgeMs: 1, maxBytes: 0 },
    { archivedTo: last, nowMs: Date.now() + 60_000, youngMs: 0, keptMin: 1 },
  );
}

test('a system whose log has lost its oldest part to the archive knows everything, and goes on', async (t) => {
  await using provider = await startFakeProvider({ script });
  await using folder = await temporaryFolder();
  const clock = join(folder.path, 'clock');
  writeFileSync(clock, '0');
  await using system = await startSystem({
    agents: '',
    environment: {
      ...anthropicAt(provider),
      NODE_OPTIONS: `--import=${resolve('test/fixtures/moving-clock.ts')}`,
      CLOCK_FILE: clock,
      WEBHOOK_EXEMPT: '127.0.0.0/8',
      WEBHOOK_PLAIN_HTTP: 'true',
    },
  });
  const toka = createClient({ url: system.api, token: await tokenOf('admin', '8h') });
  await toka.createAgent({
    body: agentInput({
      name: 'scout',
      capabilities: { primary: ['filesystem-read', 'ask-human'], secondary: [] },
    }),
  });
  const run = await toka.startRun({ id: 'scout', body: { input: 'Look around.' } }, { waitSeconds: 60 });
  t.is(run.status, 'completed');
  const parked = await toka.startRun({ id: 'scout', body: { input: 'Please ask first.' } });
  await system.saw(({ type }) => type === 'toka.run.approval-requested.v1');
  const given = await toka.startRun({ id: 'scout', body: { input: 'Please ask first, too.' } });
  await toka.cancelRun({ id: given.id, body: { reason: 'enough' } });
  const again = await toka.retryRun({ id: given.id });
  await toka.cancelRun({ id: again.id, body: { reason: 'enough' } });
  const key = await toka.mintKey({ body: { name: 'laptop' } });
  await toka.createWebhook({ body: { url: 'http://127.0.0.1:9/hook' } });
  const before = await toka.getRunState({ id: run.id });

  // Two hours later: nothing younger leaves the log.
  writeFileSync(clock, String(2 * 3_600_000));
  await trimAll(system);
  const { firstSeq, lastSeq } = await system.bus.logSight();
  t.is(firstSeq, lastSeq, 'but for the last event all have left');
  for (const name of serviceNames) {
    await system.kill(name);
    await system.start(name);
  }
  t.is((await toka.getAgent({ id: 'scout' })).status, 'active');
  t.deepEqual(
    (await toka.listKeys({})).items.map(({ id }) => id),
    [key.id],
  );
  t.is((await toka.listWebhooks({})).items.length, 1);
  t.deepEqual((await toka.getRunState({ id: run.id })).messages, before.messages);
  t.is(await status(toka.createAgent({ body: agentInput({ name: 'scout' }) })), 'conflict', 'the name is taken');

  const runs = async () => (await toka.listRuns({ limit: 100 })).items.map(({ id, status }) => ({ id, status }));
  const seen = await runs();
  t.like(await toka.retryRun({ id: given.id }), { id: again.id, status: 'cancelled' }, 'it was done again before');
  t.deepEqual(await runs(), seen, 'nothing begins anew');

  const [asked] = (await toka.listApprovals({ open: 'true' })).items;
  await toka.decideApproval({ id: asked?.id ?? '', body: { decision: 'answered', answer: 'the first' } });
  await eventually(async () => (await toka.getRun({ id: parked.id })).status === 'completed' || undefined, 60_000);
  const fork = await toka.forkRun({ id: run.id, body: { at: before.at, message: 'Again.' } }, { waitSeconds: 60 });
  t.is(fork.status, 'completed');
  const next = await toka.startRun({ id: 'scout', body: { input: 'Look again.' } }, { waitSeconds: 60 });
  t.is(next.status, 'completed');
  await toka.pauseAgent({ id: 'scout', body: { reason: 'enough' } });
  t.is((await toka.getAgent({ id: 'scout' })).status, 'paused');
  await toka.revokeKey({ id: key.id });
  t.is((await toka.verifyAudit({})).intact, true);
});

const status = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  );
