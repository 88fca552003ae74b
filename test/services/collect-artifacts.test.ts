import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import { connect } from 'nats';
import { openArtifacts } from '#shared/bus/artifacts.ts';
import type { Bus } from '#shared/bus/bus.ts';
import { openArtifactKeeper, openBus } from '#shared/bus/bus.ts';
import { takeAnswersUnder } from '#shared/bus/inbox.ts';
import { adminUser } from '#shared/bus/users.ts';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import type { Draft } from '#shared/contracts/events.ts';
import { getArchive } from '#shared/contracts/store.ts';
import { backUp } from '#shared/dev/backup/backup.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { collectArtifacts } from '#shared/keeper/collect-artifacts.ts';
import { startService } from '#shared/service.ts';
import { dispatched, queued, returned, started, submitted } from '#test/helpers/events.ts';
import { natsServers, passwordOf, startNatsWithUsers } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/store/config.ts';
import { start } from '../../services/store/main.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const dayMs = 86_400_000;
const forEver = { DELIVERABLES_MAX_AGE: 0 };
const inDays = (days: number) => ({ nowMs: Date.now() + days * dayMs });

async function setUp(program: string) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsWithUsers(program, { hasStore: true }));
  const { path } = stack.use(await temporaryFolder());
  const file = `${path}/toka.sqlite`;
  const as = (user: string) => ({ url: nats.url, user, password: passwordOf(user), leaseMs: 1_000, replicas: 1 });
  const openStore = () =>
    startService('store', Config, start, {
      ...{ NATS_URL: nats.url, NATS_USER: 'store', NATS_PASSWORD: passwordOf('store'), CONFIG_FILE: 'none' },
      ...{ METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent', DATABASE_FILE: file },
    });
  const bus = stack.use(await openBus({ ...as(adminUser), name: 'collector', declares: false }, () => undefined));
  const runner = stack.use(
    await openBus({ ...as('agent-runner'), name: 'agent-runner', declares: false }, () => undefined),
  );
  const artifacts = stack.use(await openArtifactKeeper({ ...as(adminUser), name: 'collector' }));
  const owned = stack.move();
  const raw = async (user: string) => {
    const own = { user, pass: passwordOf(user), inboxPrefix: `_INBOX.${user}` };
    const nc = await connect({ servers: nats.url, timeout: 30_000, ...own });
    takeAnswersUnder(nc, own.inboxPrefix);
    owned.defer(() => nc.close());
    return nc;
  };
  return {
    ...{ nats, file, bus, runner, raw, openStore, admin: as(adminUser) },
    async takeAway(...refs: ArtifactRef[]) {
      for (const { sha256 } of refs) await artifacts.purge(artifacts.infoSubject(sha256));
    },
    collect: (settings: typeof forEver, options: Parameters<typeof collectArtifacts>[2]) =>
      collectArtifacts({ artifacts, bus }, settings, options),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
type All = Awaited<ReturnType<typeof setUp>>;

const put = ({ runner }: All, text: string) => runner.artifacts.put(Buffer.from(text));

async function there({ bus }: All, refs: Record<string, ArtifactRef>): Promise<string[]> {
  const names = await Promise.all(
    Object.entries(refs).map(async ([name, ref]) => {
      const bytes = await bus.artifacts.get(ref).catch(() => undefined);
      return bytes ? [name] : [];
    }),
  );
  return names.flat();
}

async function append(bus: Bus, run: string, ...drafts: Draft[]): Promise<number> {
  let seq = 0;
  for (const draft of drafts) seq = await bus.append(newEvent(draft, `run/${run}`, writer));
  return seq;
}

const told = (whole: ArtifactRef): Draft => {
  const { data, ...draft } = returned('c1');
  return { ...draft, data: { ...data, whole } } as Draft;
};
const handedIn = (artifact: ArtifactRef): Draft => {
  const { data, ...draft } = submitted('c1');
  return { ...draft, data: { ...data, artifact } } as Draft;
};
const completed: Draft = { type: 'toka.run.completed.v1', data: { result: 'done' } };
const forkedFrom = (runId: string): Draft => {
  const state = { pending: [], workspace: null, deliverable: null, contextTokens: 0, compactions: 0, lastText: '' };
  return { ...queued, data: { ...queued.data, forkOf: { runId, at: 1, state } } } as Draft;
};
const begun = [queued, dispatched, started];

/** As the log's end does: what comes before is in the archive alone. */
async function cutLog({ raw }: All, firstSeq: number): Promise<void> {
  const nc = await raw(adminUser);
  const reply = await nc.request('$JS.API.STREAM.PURGE.EVENTS', JSON.stringify({ seq: firstSeq }), { timeout: 30_000 });
  if (reply.json<{ error?: unknown }>().error) throw new Error(reply.string());
}

async function messagesIn({ raw }: All): Promise<number> {
  const jsm = await (await raw(adminUser)).jetstreamManager();
  return (await jsm.streams.info('OBJ_artifacts')).state.messages;
}

for (const program of natsServers) {
  const on = ` (${program})`;

  test(`what an event of the log, a run that goes on or a deliverable needs stays, and all else goes${on}`, async (t) => {
    await using all = await setUp(program);
    await using _store = await all.openStore();
    const { bus } = all;
    const refs = {
      old: await put(all, 'of an old run'),
      open: await put(all, 'of an old run that has not ended'),
      origin: await put(all, 'of the run that a fork of a fork comes from'),
      delivered: await put(all, 'handed in'),
      nameless: await put(all, 'x'.repeat(300_000)),
      recent: await put(all, 'of an event that is in the log'),
    };
    await append(bus, newId('run'), ...begun, told(refs.old), completed);
    await append(bus, newId('run'), ...begun, told(refs.open));
    const [origin, child, grandchild] = [newId('run'), newId('run'), newId('run')];
    await append(bus, origin, ...begun, told(refs.origin), completed);
    await append(bus, child, forkedFrom(origin), completed);
    await append(bus, grandchild, forkedFrom(child));
    await append(bus, newId('run'), ...begun, handedIn(refs.delivered), completed);
    const firstSeq = await append(bus, newId('run'), ...begun, told(refs.recent), completed);
    (await all.raw('agent-runner')).publish('$O.artifacts.C.broken', 'a broken upload');

    t.deepEqual(await all.collect(forEver, inDays(6)), { objects: 0, bytes: 0 }, 'nothing is old enough');
    const first = await all.collect(forEver, inDays(8));
    t.deepEqual(first, { objects: 1, bytes: 300_000 + 'a broken upload'.length }, 'nobody has named it');
    t.deepEqual(await there(all, refs), ['old', 'open', 'origin', 'delivered', 'recent']);

    await cutLog(all, firstSeq - 1);
    t.deepEqual(await all.collect(forEver, inDays(8)), { objects: 1, bytes: 'of an old run'.length });
    t.deepEqual(await there(all, refs), ['open', 'origin', 'delivered', 'recent']);
    t.deepEqual(await all.collect({ DELIVERABLES_MAX_AGE: 9 }, inDays(8)), { objects: 0, bytes: 0 });
    t.deepEqual(await all.collect({ DELIVERABLES_MAX_AGE: 7 }, inDays(8)), { objects: 1, bytes: 'handed in'.length });

    await append(bus, grandchild, completed);
    t.is((await all.collect(forEver, inDays(8))).objects, 1);
    t.deepEqual(await there(all, refs), ['open', 'recent']);
    t.is(await messagesIn(all), 4, 'an info and a chunk of each');
    await t.throwsAsync(bus.artifacts.get(refs.old), { code: 'gone', message: /no longer kept/ });
  });

  test(`a backup has what is kept, and tells what is missing from what is no longer kept${on}`, async (t) => {
    await using all = await setUp(program);
    await using _store = await all.openStore();
    await using folder = await temporaryFolder();
    const { bus } = all;
    const refs = {
      old: await put(all, 'of an old run'),
      delivered: await put(all, 'handed in'),
      kept: await put(all, 'of an event that is in the log'),
      lost: await put(all, 'and another'),
    };
    await append(bus, newId('run'), ...begun, told(refs.old), handedIn(refs.delivered), completed);
    const firstSeq = await append(bus, newId('run'), ...begun, told(refs.kept), told(refs.lost), completed);
    const { seq } = await bus.ask(getArchive, { minSeq: firstSeq });
    await cutLog(all, firstSeq - 2);
    await all.takeAway(refs.old, refs.delivered, refs.lost);
    const backup = async (name: string, settings: typeof forEver) => {
      const { missing, ...made } = await backUp(join(folder.path, name), {
        ...{ databaseFile: all.file, admin: all.admin, home: folder.path, settings },
      });
      return { ...made, missing: missing.toSorted() };
    };
    const both = [refs.delivered.sha256, refs.lost.sha256].toSorted();
    t.like(await backup('a', forEver), { seq, artifacts: 1, aged: 1, missing: both });
    t.deepEqual(readdirSync(join(folder.path, 'a', 'artifacts')), [refs.kept.sha256]);
    const briefly = { DELIVERABLES_MAX_AGE: 1e-9 };
    t.like(await backup('b', briefly), { artifacts: 1, aged: 2, missing: [refs.lost.sha256] });
  });

  // By itself: the store waits for its locked file with all that is in this process.
  test.serial(
    `nothing is collected while the store is away, or has not archived all that the log holds${on}`,
    async (t) => {
      await using all = await setUp(program);
      const refs = { nameless: await put(all, 'nameless') };
      const store = await all.openStore();
      await append(all.bus, newId('run'), queued);
      await using blocked = new AsyncDisposableStack();
      const blocker = new Database(all.file);
      blocker.exec('BEGIN IMMEDIATE');
      blocked.defer(() => void blocker.close());
      await append(all.bus, newId('run'), queued);
      await t.throwsAsync(all.collect(forEver, inDays(8)), { code: 'unavailable' });
      await blocked.disposeAsync();
      await store[Symbol.asyncDispose]();
      await t.throwsAsync(all.collect(forEver, inDays(8)), { code: 'unavailable' });
      t.deepEqual(await there(all, refs), ['nameless']);
      await using _again = await all.openStore();
      t.is((await all.collect(forEver, inDays(8))).objects, 1);
    },
  );

  test(`whoever names anew what is about to be collected has stored it anew${on}`, async (t) => {
    await using all = await setUp(program);
    await using _store = await all.openStore();
    const nc = await all.raw('agent-runner');
    const bytes = Buffer.from('the same again');
    const same = { same: await put(all, bytes.toString()) };
    t.is(await messagesIn(all), 2);
    await openArtifacts(nc, dayMs).put(bytes);
    t.is(await messagesIn(all), 2, 'one that is younger is relied upon');
    const between = Date.now() + 1;
    while (Date.now() <= between) await new Promise((resolve) => setTimeout(resolve, 1));
    await openArtifacts(nc, 0).put(bytes);
    t.is(await messagesIn(all), 4, 'an older one is not');
    // A round between the put and the event: the first copy is old enough to go, the second is not.
    t.deepEqual(await all.collect(forEver, { nowMs: between, keptMs: 0 }), { objects: 1, bytes: bytes.length });
    await append(all.bus, newId('run'), ...begun, told(same.same));
    t.deepEqual(await there(all, same), ['same']);

    await openArtifacts(nc, 0).put(bytes);
    t.is(await messagesIn(all), 4);
    t.is((await all.collect(forEver, inDays(8))).objects, 1, 'of two that are old and needed the newer stays');
    t.deepEqual(await there(all, same), ['same']);
    t.is(await messagesIn(all), 2);
  });

  test(`who may write artifacts cannot have those of others taken away${on}`, async (t) => {
    await using all = await setUp(program);
    await using _store = await all.openStore();
    const refs = { mine: await put(all, 'needed'), other: await put(all, 'needed, too') };
    await append(all.bus, newId('run'), ...begun, told(refs.mine), told(refs.other));
    const nc = await all.raw('agent-runner');
    const jsm = await (await all.raw(adminUser)).jetstreamManager();
    const info = await jsm.streams.info('OBJ_artifacts', { subjects_filter: '$O.artifacts.>' });
    const subjects = Object.keys(info.state.subjects ?? {});
    const write = (subject: string, value: object) => nc.publish(subject, JSON.stringify(value));
    // Infos of names that nobody needs, and newer ones of names that somebody does, each with another's chunks.
    for (const subject of subjects.filter((each) => each.includes('.C.'))) {
      const nuid = subject.split('.').at(-1);
      for (const name of ['0'.repeat(64), refs.mine.sha256, refs.other.sha256])
        write(`$O.artifacts.M.${Buffer.from(name).toString('base64')}`, { name, nuid, chunks: 1, size: 6 });
    }
    nc.publish('$O.artifacts.M.x', 'no info');
    nc.publish('$O.artifacts.M.x.y', 'no info');
    // nats-server takes what lies on a subject that is a pattern: as a filter it would be everybody's.
    for (const pattern of ['$O.artifacts.C.>', '$O.artifacts.C.*', '$O.artifacts.M.>']) nc.publish(pattern, 'x');
    await nc.flush();
    t.is(await messagesIn(all), 4 + 6 + 5);
    t.true((await all.collect(forEver, inDays(8))).objects > 0);
    t.deepEqual(await there(all, refs), ['mine', 'other']);
    await all.collect(forEver, inDays(8));
    t.deepEqual(await there(all, refs), ['mine', 'other']);
  });

  test(`an info whose chunks would be those of many is none${on}`, async (t) => {
    await using all = await setUp(program);
    await using _store = await all.openStore();
    const refs = { mine: await put(all, 'needed') };
    await append(all.bus, newId('run'), ...begun, told(refs.mine));
    const nc = await all.raw('agent-runner');
    const name = refs.mine.sha256;
    // The bucket's first chunk is the right one: taken for a newer copy, it would take the place of the true one.
    for (const nuid of ['*', '>'])
      nc.publish(
        `$O.artifacts.M.${Buffer.from(name).toString('base64')}`,
        JSON.stringify({ name, nuid, chunks: 1, size: 6 }),
      );
    await nc.flush();
    t.is((await all.collect(forEver, inDays(8))).objects, 0);
    t.deepEqual(await there(all, refs), ['mine']);
  });
}
