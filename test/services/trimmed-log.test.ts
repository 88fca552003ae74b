import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import Sqlite from 'better-sqlite3';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus, openTrimmer } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import type { Draft } from '#shared/contracts/events.ts';
import { getArchive, verifyArchive } from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { followEntities } from '#shared/follow-entities.ts';
import { newId } from '#shared/ids.ts';
import { trimLog } from '#shared/keeper/trim-log.ts';
import { createLogger } from '#shared/log.ts';
import { startService } from '#shared/service.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { natsServers, passwordOf, startNatsWithUsers } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/store/config.ts';
import { start } from '../../services/store/main.ts';
import { openReader } from '../../services/store/reader.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const as = (nats: TestServer, user: string) =>
  openBus(
    { url: nats.url, user, password: passwordOf(user), name: user, leaseMs: 1_000, replicas: 1, declares: false },
    () => undefined,
  );

const startStore = (nats: TestServer, file: string, more = {}) =>
  startService('store', Config, start, {
    NATS_URL: nats.url,
    NATS_USER: 'store',
    NATS_PASSWORD: passwordOf('store'),
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    DATABASE_FILE: file,
    ...more,
  });

async function setUp(program: string) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsWithUsers(program, { hasStore: true }));
  const { path: folder } = stack.use(await temporaryFolder());
  const gateway = stack.use(await as(nats, 'gateway'));
  const owned = stack.move();
  return { nats, folder, gateway, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const registered = (name: string): Draft => ({
  type: 'toka.agent.registered.v1',
  data: { spec: agentSpec({ name }), origin: 'api' },
});
const large: Draft = {
  type: 'toka.memory.remembered.v1',
  data: { id: newId('mem'), text: 'x'.repeat(7_000_000), runId: null },
};
const paused: Draft = { type: 'toka.agent.paused.v1', data: { reason: 'to try' } };
const appendTo = (bus: Bus, name: string, draft: Draft, expected: number | undefined) =>
  bus.append(newEvent(draft, `agent/${name}`, writer), expected, 5_000);

/** As the log's keeper does, but without waiting for an hour. */
async function trim({ nats, gateway }: { nats: TestServer; gateway: Bus }, keptMin: number): Promise<number> {
  const last = await gateway.lastSeq();
  await gateway.ask(getArchive, { minSeq: last });
  const admin = {
    url: nats.url,
    user: adminUser,
    password: passwordOf(adminUser),
    name: 'keeper',
    leaseMs: 1_000,
    replicas: 1,
  };
  await using log = await openTrimmer(admin);
  return await trimLog(
    log,
    { maxAgeMs: 1, maxBytes: 0 },
    { archivedTo: last, nowMs: Date.now() + 1_000, youngMs: 0, keptMin },
  );
}

async function followed(bus: Bus, subjects: string[] | undefined, count: number): Promise<number[]> {
  const stop = new AbortController();
  const seen: number[] = [];
  for await (const { seq } of bus.follow({ from: 1, subjects, signal: stop.signal })) {
    seen.push(seq);
    if (seen.length === count) stop.abort();
  }
  return seen;
}

for (const program of natsServers) {
  test(`what has left the log is read from the archive, and goes on (${program})`, async (t) => {
    await using world = await setUp(program);
    const { gateway, nats, folder } = world;
    await using services = new AsyncDisposableStack();
    services.use(await startStore(nats, join(folder, 'toka.sqlite')));
    const sequences: number[] = [];
    for (let index = 0; index < 150; index++)
      sequences.push(
        await appendTo(
          gateway,
          `a${index % 50}`,
          index < 50 ? registered(`a${index}`) : paused,
          index < 50 ? 0 : (sequences[index - 50] ?? 0),
        ),
      );
    const all = await eventually(async () => {
      const { seq } = await gateway.ask(getArchive, {});
      return seq >= (sequences.at(-1) ?? 0) ? seq : undefined;
    });
    const before = await gateway.read('agent', 'a7');
    t.is(await trim(world, 20), all - 20);
    const { firstSeq, lastSeq, messages } = await gateway.logSight();
    t.deepEqual([firstSeq, lastSeq, messages], [all - 19, all, 20]);

    t.deepEqual(await gateway.read('agent', 'a7'), before, 'all of it has left');
    t.deepEqual(
      (await gateway.read('agent', 'a49')).map(({ type }) => type),
      before.map(({ type }) => type),
      'a part has left',
    );
    t.is((await gateway.first('agent', 'a49'))?.seq, sequences[49]);
    t.deepEqual(await gateway.read('agent', 'nobody'), []);
    t.is(await gateway.first('agent', 'nobody'), undefined);
    t.deepEqual(
      (await gateway.readAt([sequences[3] ?? 0, all])).map(({ seq }) => seq),
      [sequences[3], all],
    );

    t.deepEqual(
      await followed(gateway, undefined, all),
      Array.from({ length: all }, (_, index) => index + 1),
    );
    t.deepEqual(await followed(gateway, ['toka.events.agent.*'], 150), sequences);
    t.deepEqual(
      await followed(gateway, ['toka.events.agent.a7'], 3),
      before.map(({ seq }) => seq),
    );
    const names = new Set<string>();
    await using _following = await followEntities(gateway, createLogger('test', '1', 'silent'), {
      ...{ entity: 'agent', what: 'agents' },
      apply: ({ subject }) => names.add(subject),
    });
    t.is(names.size, 50, 'it is open once it has seen what only the archive has');

    await appends(t, gateway, before.at(-1)?.seq ?? 0);
    await appendTo(gateway, 'young', registered('young'), 0);
    await services.disposeAsync();
    await t.throwsAsync(
      gateway.read('agent', 'a8'),
      { message: /nobody answers/ },
      'nothing is taken for all there is',
    );
    t.is((await gateway.read('agent', 'young')).length, 1, 'what the stream has needs no archive');
  });
}

test('a store that comes late takes from another what has left the log; alone it says what to do, and nobody writes', async (t) => {
  await using world = await setUp('nats-server');
  const { gateway, nats, folder } = world;
  const [file, second, third] = ['a', 'b', 'c'].map((name) => join(folder, name, 'toka.sqlite')) as [
    string,
    string,
    string,
  ];
  await using first = new AsyncDisposableStack();
  first.use(await startStore(nats, file, { INSTANCE: 'first' }));
  for (let index = 0; index < 60; index++) await appendTo(gateway, `a${index}`, registered(`a${index}`), 0);
  // An answer of NATS' could not carry it as it is.
  await gateway.append(newEvent(large, 'memory/a1', writer), 0);
  t.true((await trim(world, 10)) > 0);

  await using later = new AsyncDisposableStack();
  later.use(await startStore(nats, second, { INSTANCE: 'second' }));
  const last = await gateway.lastSeq();
  await eventually(() => {
    using archive = openReader(second);
    return archive?.seq === last || undefined;
  });
  {
    using one = openReader(file);
    using other = openReader(second);
    t.deepEqual(other?.rows(1, last), one?.rows(1, last), 'each event, on its subject');
  }
  await first.disposeAsync();
  await later.disposeAsync();

  await using alone = new AsyncDisposableStack();
  alone.use(await startStore(nats, third, { INSTANCE: 'third' }));
  const refused = await t.throwsAsync(appendTo(gateway, 'late', registered('late'), 0));
  t.regex(String(refused?.message), /the log begins with|it begins with event \d+, and the archive holds none/);
  t.regex(String(refused?.message), /no other store answers that has it/);
});

/** Where all of an entity has left the log, the stream expects none; who knows the last event appends behind it all the same. */
async function appends(t: ExecutionContext, gateway: Bus, last: number): Promise<void> {
  const stale = await t.throwsAsync(appendTo(gateway, 'a7', paused, last - 1));
  t.regex(String(stale?.message), /another writer was first/);
  const seq = await appendTo(gateway, 'a7', paused, last);
  t.true(seq > last);
  await t.throwsAsync(appendTo(gateway, 'a7', paused, last), { message: /another writer was first/ });
  const history = await gateway.history('agent', 'a7');
  t.is(history.last, seq);
  t.is(history.events.length, 4);
  const { events, last: left } = await gateway.history('agent', 'a9');
  t.is(left, events.at(-1)?.seq ?? 0, 'the last that there was, wherever it is');
  await t.throwsAsync(
    appendTo(gateway, 'a9', registered('a9'), 0),
    { message: /another writer was first/ },
    'it has begun',
  );
  await appendTo(gateway, 'a9', paused, left);
}

test('an archive of another log is not gone on with, and answers nobody', async (t) => {
  await using world = await setUp('nats-server');
  await using others = await setUp('nats-server');
  const file = join(others.folder, 'toka.sqlite');
  {
    await using _store = await startStore(others.nats, file);
    for (let index = 0; index < 20; index++) await appendTo(others.gateway, `b${index}`, registered(`b${index}`), 0);
    await others.gateway.ask(getArchive, { minSeq: await others.gateway.lastSeq() });
  }
  await using _store = await startStore(world.nats, join(world.folder, 'toka.sqlite'));
  for (let index = 0; index < 60; index++) await appendTo(world.gateway, `a${index}`, registered(`a${index}`), 0);
  t.true((await trim(world, 10)) > 30);
  await using _other = await startStore(world.nats, file, { INSTANCE: 'other' });
  await t.throwsAsync(appendTo(world.gateway, 'late', registered('late'), 0), { message: /is not the archive's/ });
  for (let index = 0; index < 10; index++)
    t.is((await world.gateway.read('agent', 'a3')).length, 1, 'the right store answers');
  using archive = openReader(file);
  t.true((archive?.seq ?? 0) < 30, 'nothing was added to it');
});

test('an archive that is not whole says that it holds nothing, so that the log keeps what it needs', async (t) => {
  await using world = await setUp('nats-server');
  const { gateway, nats, folder } = world;
  const file = join(folder, 'toka.sqlite');
  await using _store = await startStore(nats, file);
  for (let index = 0; index < 20; index++) await appendTo(gateway, `a${index}`, registered(`a${index}`), 0);
  await gateway.ask(getArchive, { minSeq: await gateway.lastSeq() });
  const db = new Sqlite(file);
  db.prepare(
    "UPDATE events SET bytes = CAST(replace(CAST(bytes AS TEXT), 'test/1', 'test/2') AS BLOB) WHERE seq = 5",
  ).run();
  db.close();
  t.false((await gateway.ask(verifyArchive, {}, { timeoutMs: 60_000 })).intact);
  await eventually(async () => (await gateway.archives.list())[0]?.seq === 0 || undefined);
});
