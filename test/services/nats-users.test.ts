import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import type { NatsConnection } from 'nats';
import { connect, headers } from 'nats';
import { openBus } from '#shared/bus/bus.ts';
import { matches } from '#shared/bus/matches.ts';
import type { ServiceUser, UserName } from '#shared/bus/users.ts';
import { adminUser, inboxPrefix, permissionsOf, serviceUsers } from '#shared/bus/users.ts';
import { commandAgent, commandRun } from '#shared/command.ts';
import { openSecrets } from '#shared/dev/launch/secrets.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { queued } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { natsServers, passwordOf, startNatsWithUsers, violations } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

// What each service's user of NATS may not do, on real servers.

const open = (url: string, user: UserName) =>
  openBus(
    { url, user, password: passwordOf(user), name: user, leaseMs: 1_000, replicas: 1, declares: user === adminUser },
    () => undefined,
  );

/** A bare connection: what whoever has stolen a service's password would use. */
async function raw(stack: AsyncDisposableStack, url: string, user: UserName): Promise<NatsConnection> {
  const nc = await connect({ servers: url, user, pass: passwordOf(user), inboxPrefix: inboxPrefix(user) });
  stack.defer(() => nc.close());
  return nc;
}

/** Whether the server refuses to hear it. */
async function publishRefused(nc: NatsConnection, subject: string, payload = '{}'): Promise<boolean> {
  const before = refusals.get(nc) ?? watch(nc);
  const count = before.length;
  nc.publish(subject, payload, { reply: `${inboxPrefix('nobody')}.x` });
  await nc.flush();
  await setImmediate(); // the refusal came before the answer to flush, and is told a moment later
  return before.length > count;
}

const refusals = new WeakMap<NatsConnection, string[]>();
function watch(nc: NatsConnection): string[] {
  const seen: string[] = [];
  refusals.set(nc, seen);
  void (async () => {
    for await (const { permissionContext: refused } of nc.status())
      if (refused) seen.push(`${refused.operation} ${refused.subject}`);
  })();
  return seen;
}

async function subscribeRefused(nc: NatsConnection, subject: string): Promise<boolean> {
  let refused = false;
  const callback = (error: unknown) => {
    refused ||= error !== null;
  };
  nc.subscribe(subject, { callback });
  await nc.flush();
  await setImmediate();
  return refused;
}

const run = newId('run');
/** A subject that a permission with wildcards allows. */
const example = (subject: string) => subject.replace(/\*/g, 'x').replace(/>$/, 'x');
const allowed = Object.fromEntries(serviceUsers.map((user) => [user, permissionsOf(user)])) as Record<
  ServiceUser,
  ReturnType<typeof permissionsOf>
>;
/** All that some service may publish or hear. */
const every = (what: 'publish' | 'subscribe') => [...new Set(serviceUsers.flatMap((user) => allowed[user][what]))];

const streams = ['EVENTS', 'TASKS', 'OBJ_artifacts', 'SNAPSHOTS', 'KV_leases', 'KV_positions', 'KV_notes', 'KV_log'];
/** What changes streams and consumers, or takes messages away: nobody's but the admin's. */
const changing = streams.flatMap((stream) => [
  ...['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'RESTORE', 'SNAPSHOT', 'MSG.DELETE', 'LEADER.STEPDOWN'].map(
    (call) => `$JS.API.STREAM.${call}.${stream}`,
  ),
  `$JS.API.DIRECT.GET.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}.thief`,
  `$JS.API.CONSUMER.CREATE.${stream}.thief.toka.events.>`,
  `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.thief`,
  `$JS.API.CONSUMER.DELETE.${stream}.runners`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.thief`,
]);
const nobodyMayPublish = [
  'toka.events.x',
  'toka.log.run.x',
  '$SYS.REQ.SERVER.PING',
  '$JS.API.ACCOUNT.PURGE.TOKA',
  ...changing,
];
const nobodyMayHear = [
  '>',
  'toka.>',
  'toka.events.>',
  '_INBOX.>',
  '_R_.>',
  '$JS.API.>',
  '$JS.ACK.>',
  '$SYS.>',
  '$O.artifacts.>',
  '$KV.>',
];

for (const program of natsServers) {
  const on = ` (${program})`;
  const start = () => startNatsWithUsers(program);

  test(`no service may do what another may, or what nobody may${on}`, async (t) => {
    await using nats = await start();
    await using stack = new AsyncDisposableStack();
    for (const user of serviceUsers) {
      const nc = await raw(stack, nats.url, user);
      const own = allowed[user];
      const others = {
        publish: every('publish')
          .map(example)
          .filter((subject) => !isAllowed(own.publish, subject)),
        subscribe: every('subscribe').filter((subject) => !isAllowed(own.subscribe, example(subject))),
      };
      t.true(others.publish.length > 10);
      for (const subject of [...others.publish, ...nobodyMayPublish])
        t.true(await publishRefused(nc, subject), `${user} publishes ${subject}`);
      for (const subject of [...others.subscribe, ...nobodyMayHear])
        t.true(await subscribeRefused(nc, subject), `${user} hears ${subject}`);
      t.false(await publishRefused(nc, `toka.events.system.${user}`), `${user} tells of itself`);
    }
  });

  test(`what JetStream answers never lands on the log, whatever it is asked and by whom${on}`, async (t) => {
    await using nats = await start();
    await using stack = new AsyncDisposableStack();
    const admin = stack.use(await open(nats.url, adminUser));
    const target = 'toka.events.agent.scout';
    await admin.append(newEvent({ type: 'toka.agent.paused.v1', data: { reason: 'x' } }, 'agent/scout', service));
    await admin.tasks.add('high', { runId: run }, newId('evt'));
    const before = await admin.lastSeq(target);
    for (const user of serviceUsers) {
      const nc = await raw(stack, nats.url, user);
      for (const subject of allowed[user].publish.filter((each) => !each.startsWith('_'))) {
        for (const payload of ['', '{"seq":1}', '{"last_by_subj":">"}', '{"batch":5,"no_wait":true}'])
          nc.publish(example(subject), payload, { reply: target });
      }
      await nc.flush();
    }
    await eventually(async () => (await admin.lastSeq()) > before);
    const written = await admin.append(
      newEvent({ type: 'toka.agent.resumed.v1', data: { reason: 'x' } }, 'agent/scout', service),
    );
    const own = await admin.history('agent', 'scout');
    t.deepEqual(own.events.map(({ type }) => type).slice(-1), ['toka.agent.resumed.v1']);
    t.is(own.last, written);
    const landed = await messagesOn(stack, nats, target);
    // The gateway and the scheduler may write agents' events themselves, and have written what was no event there.
    t.false(
      landed.some((text) => /io\.nats|"stream":/.test(text)),
      landed.join('\n'),
    );
  });

  test(`a service neither rolls up nor takes away what others have written${on}`, async (t) => {
    await using nats = await start();
    await using stack = new AsyncDisposableStack();
    const admin = stack.use(await open(nats.url, adminUser));
    const kept = await admin.artifacts.put(Buffer.from('a deliverable'));
    const rolling = headers();
    rolling.set('Nats-Rollup', 'all');
    for (const user of serviceUsers) {
      const nc = await raw(stack, nats.url, user);
      for (const subject of allowed[user].publish.filter((each) =>
        /^(\$O|\$KV|toka\.(events|tasks|snapshots))\./.test(each),
      ))
        for (const how of ['all', 'sub']) {
          rolling.set('Nats-Rollup', how);
          nc.publish(example(subject), '{}', { headers: rolling });
        }
      await nc.flush();
    }
    await admin.lastSeq();
    t.is((await admin.artifacts.get(kept)).toString(), 'a deliverable');
    // Something else under an artifact's name does not take its place.
    const runner = await raw(stack, nats.url, 'agent-runner');
    const name = Buffer.from(kept.sha256).toString('base64');
    const other = { name: kept.sha256, nuid: 'x', chunks: 1, size: 5, digest: `SHA-256=${kept.sha256}` };
    runner.publish('$O.artifacts.C.x', 'wrong');
    runner.publish(`$O.artifacts.M.${name}`, JSON.stringify(other));
    await runner.flush();
    t.is((await admin.artifacts.get(kept)).toString(), 'a deliverable');
  });

  test(`a runner cannot speak for a person, nor about what is not a run${on}`, async (t) => {
    await using nats = await start();
    await using stack = new AsyncDisposableStack();
    const gateway = stack.use(await open(nats.url, 'gateway'));
    const runner = stack.use(await open(nats.url, 'agent-runner'));
    const nc = await raw(stack, nats.url, 'agent-runner');
    await commandAgent(gateway, 'scout', { type: 'register', spec: agentSpec(), origin: 'api' }, boss);
    const id = newId('run');
    await gateway.append(newEvent(queued, `run/${id}`, boss), 0);
    const asked = {
      id: newId('apr'),
      callId: 'c1',
      kind: 'tool',
      tool: 'shell',
      capability: null,
      question: 'rm?',
      schema: null,
    } as const;
    const approval = { ...asked, expiresAt: new Date(Date.now() + 60_000).toISOString() };
    await runner.append(newEvent({ type: 'toka.run.approval-requested.v1', data: approval }, `run/${id}`, service));
    const decided = { approvalId: asked.id, decision: 'approved', reason: null } as const;
    const forged = newEvent({ type: 'toka.run.approval-decided.v1', data: decided }, `run/${id}`, boss);
    const { decision: _, ...plain } = forged;
    const cancelled = newEvent({ type: 'toka.run.cancelled.v1', data: { reason: 'x' } }, `run/${id}`, boss);
    const removed = newEvent({ type: 'toka.agent.removed.v1', data: { reason: 'x' } }, 'agent/scout', boss);
    for (const event of [
      plain,
      forged,
      { ...cancelled, decision: undefined },
      removed,
      { ...removed, subject: `run/${id}` },
    ])
      nc.publish(`toka.events.run.${id}`, JSON.stringify(event));
    t.true(await publishRefused(nc, `toka.events.decision.${id}`, JSON.stringify(forged)));
    await nc.flush();
    const { events, last } = await eventually(async () => {
      const found = await gateway.history('run', id);
      return found.last >= 8 ? found : undefined;
    });
    t.deepEqual(
      events.map(({ type }) => type),
      ['toka.run.queued.v1', 'toka.run.approval-requested.v1'],
    );
    t.is((await gateway.read('agent', 'scout')).length, 1);
    // What does not count is in nobody's way: the person's own word, and the runner's next event, come after it.
    await commandRun(gateway, id, { type: 'decide', decided: { ...decided, decision: 'denied' } }, boss);
    await runner.append(
      newEvent({ type: 'toka.run.failed.v1', data: { code: 'x', message: 'x' } }, `run/${id}`, service),
      last,
    );
    const types = (await runner.read('run', id)).map(({ type }) => type);
    t.deepEqual(types.slice(2), ['toka.run.approval-decided.v1', 'toka.run.failed.v1']);
    await t.throwsAsync(commandRun(gateway, id, { type: 'cancel', reason: 'late' }, boss), { code: 'conflict' });
  });

  test(`leases, positions, snapshots and notes work with each service's own rights, also after NATS was killed${on}`, async (t) => {
    await using nats = await start();
    await using scheduler = await open(nats.url, 'scheduler');
    await using gateway = await open(nats.url, 'gateway');
    await using lease = scheduler.lead('scheduler', 'me', () => undefined);
    await using other = gateway.lead('webhooks', 'you', () => undefined);
    await eventually(() => lease.isHeld() && other.isHeld());
    await nats.kill();
    await eventually(() => !lease.isHeld());
    await nats.start();
    await eventually(() => lease.isHeld() && other.isHeld());
    t.is(await lease.holder(), 'me');
    await gateway.positions.put('whk_1', { seq: 1 });
    await gateway.positions.put('whk_1', { seq: 2 });
    t.deepEqual(await gateway.positions.get('whk_1'), { seq: 2 });
    await gateway.positions.remove('whk_1');
    t.is(await gateway.positions.get('whk_1'), undefined);
    t.is(await gateway.positions.get('whk_2'), undefined);
    const revision = await gateway.notes.write('n', 'one', 0);
    await t.throwsAsync(gateway.notes.write('n', 'two', 0), { code: 'conflict' });
    await gateway.notes.write('n', 'two', revision);
    t.is((await gateway.notes.read('n'))?.text, 'two');
    for (const size of [700_000, 300_000, 0]) {
      const bytes = Buffer.alloc(size, size.toString());
      await scheduler.snapshots.put('scheduler', bytes);
      t.true((await scheduler.snapshots.get('scheduler'))?.equals(bytes));
    }
    t.deepEqual(violations(nats), []);
  });
}

const service = { source: '/toka/test/1', actor: 'service:test' };
const boss = { source: '/toka/thief/1', actor: 'user:boss' };

const isAllowed = (filters: readonly string[], subject: string) => filters.some((each) => matches(each, subject));

async function messagesOn(stack: AsyncDisposableStack, nats: TestServer, subject: string): Promise<string[]> {
  const nc = await raw(stack, nats.url, adminUser);
  const jsm = await nc.jetstreamManager();
  const found: string[] = [];
  for (let seq = 1; ; ) {
    const query = { seq, next_by_subj: subject } as unknown as { seq: number };
    const message = await jsm.streams.getMessage('EVENTS', query).catch(() => undefined);
    if (!message) return found;
    found.push(message.string());
    seq = message.seq + 1;
  }
}

test('a wrong password, another user and no user are refused', async (t) => {
  await using nats = await startNatsWithUsers();
  for (const wrong of [
    { user: 'gateway', pass: passwordOf('store') },
    { user: 'gateway', pass: '' },
    { user: 'root', pass: passwordOf('gateway') },
    {},
  ])
    await t.throwsAsync(connect({ servers: nats.url, ...wrong }), { message: /Authorization Violation/i });
});

test('the largest event that can be written can be read', async (t) => {
  await using nats = await startNatsWithUsers();
  await using bus = await open(nats.url, adminUser);
  const reason = 'x'.repeat(7_400_000);
  await bus.append(newEvent({ type: 'toka.run.dispatched.v1', data: { reason } }, `run/${run}`, service), 0);
  const [event] = await bus.read('run', run);
  t.like(event, { data: { reason } });
  t.is(await eventually(() => bus.lastSeq(`toka.events.run.${run}`)), 1);
});

test('secrets of an earlier version are kept, and passwords for the users added to them', async (t) => {
  await using folder = await temporaryFolder();
  const earlier = { JWT_SECRET: 'a', NATS_PASSWORD: 'b', REDIS_PASSWORD: 'c' };
  writeFileSync(join(folder.path, 'secrets.json'), JSON.stringify(earlier));
  const secrets = openSecrets(folder.path);
  t.like(secrets, earlier);
  t.deepEqual(Object.keys(secrets.NATS_PASSWORDS), [...serviceUsers]);
  t.is(new Set(Object.values(secrets.NATS_PASSWORDS)).size, serviceUsers.length);
  t.deepEqual(openSecrets(folder.path), secrets);
  t.is(statSync(join(folder.path, 'secrets.json')).mode & 0o777, 0o600);
});
