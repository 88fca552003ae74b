import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import type { NatsConnection } from 'nats';
import { connect } from 'nats';
import { openBus } from '#shared/bus/bus.ts';
import type { StreamGroup } from '#shared/bus/streams.ts';
import type { ServiceUser, UserName } from '#shared/bus/users.ts';
import { adminUser, inboxPrefix, serviceUsers } from '#shared/bus/users.ts';
import { openSecrets } from '#shared/dev/launch/secrets.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { passwordOf, startNatsWithUsers, violations } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

// What each service's user of NATS may not do, on a real server with the streams that the store makes.

const open = (url: string, user: UserName, declares: StreamGroup[] = []) =>
  openBus(
    { url, user, password: passwordOf(user), name: user, leaseMs: 1_000, replicas: 1, declares },
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
const others = (user: ServiceUser) => serviceUsers.filter((each) => each !== user);
const inboxes = (user: ServiceUser) => [...others(user), adminUser].map((each) => `${inboxPrefix(each)}.>`);

const mayNotPublish: Record<ServiceUser, string[]> = {
  gateway: [
    `toka.tasks.high.${run}`,
    'toka.events.llm.internal',
    'toka.events.system.store',
    'toka.llm.chat',
    '$O.artifacts.M.x',
    '$KV.leases.scheduler',
    '$JS.API.STREAM.UPDATE.KV_notes',
    '$O.snapshots.M.x',
    '$JS.API.STREAM.PURGE.OBJ_snapshots',
    '$JS.API.CONSUMER.MSG.NEXT.TASKS.runners',
    '$JS.API.CONSUMER.CREATE.TASKS.thief',
    '$JS.API.CONSUMER.CREATE.OBJ_artifacts',
    '$JS.API.STREAM.PURGE.EVENTS',
  ],
  scheduler: [
    '$KV.notes.x',
    '$JS.API.STREAM.MSG.GET.KV_notes',
    'toka.events.key.x',
    'toka.events.webhook.x',
    '$KV.leases.webhooks',
    '$KV.positions.x',
    'toka.events.llm.internal',
    'toka.llm.chat',
    'toka.store.query.runs',
    '$O.artifacts.C.x',
    '$JS.API.STREAM.MSG.GET.OBJ_artifacts',
    'toka.runners',
    '$JS.API.CONSUMER.MSG.NEXT.TASKS.runners',
    '$JS.API.STREAM.CREATE.EVENTS',
  ],
  'agent-runner': [
    'toka.events.agent.scout',
    'toka.events.key.x',
    'toka.events.webhook.x',
    '$KV.positions.x',
    'toka.events.llm.internal',
    'toka.events.system.gateway',
    `toka.tasks.critical.${run}`,
    `toka.control.run.${run}`,
    'toka.store.query.runs',
    'toka.metrics',
    '$JS.API.CONSUMER.CREATE.EVENTS',
    '$JS.API.CONSUMER.CREATE.EVENTS.follow-x',
    '$JS.API.CONSUMER.MSG.NEXT.EVENTS.store-x',
    '$JS.API.CONSUMER.CREATE.TASKS.thief',
    '$JS.API.CONSUMER.CREATE.OBJ_artifacts',
    '$JS.API.CONSUMER.DELETE.TASKS.runners',
    '$JS.API.STREAM.PURGE.OBJ_artifacts',
    '$JS.API.STREAM.MSG.GET.OBJ_snapshots',
    '$O.snapshots.M.x',
    'toka.scheduler.query.status',
    '$KV.leases.scheduler',
    '$KV.notes.x',
    '$JS.API.STREAM.MSG.GET.KV_notes',
    '_INBOX.store.x',
  ],
  'llm-proxy': [
    'toka.events.run.x',
    'toka.events.agent.scout',
    'toka.events.key.x',
    'toka.events.webhook.x',
    '$KV.positions.x',
    `toka.tasks.low.${run}`,
    'toka.store.query.memory',
    '$O.artifacts.M.x',
    '$JS.API.CONSUMER.CREATE.EVENTS',
    '$JS.API.CONSUMER.CREATE.EVENTS.x',
    '$JS.API.CONSUMER.CREATE.EVENTS.x.toka.events.>',
    '$JS.API.STREAM.MSG.GET.OBJ_artifacts',
    '$KV.notes.x',
    '$JS.API.STREAM.MSG.GET.KV_notes',
    '_INBOX.scheduler.x',
  ],
  store: [
    'toka.events.agent.scout',
    'toka.events.run.x',
    'toka.events.key.x',
    'toka.events.webhook.x',
    '$KV.positions.x',
    `toka.tasks.high.${run}`,
    'toka.llm.chat',
    '$O.artifacts.M.x',
    '$JS.API.STREAM.DELETE.EVENTS',
    '$JS.API.STREAM.PURGE.EVENTS',
    '$JS.API.STREAM.MSG.DELETE.EVENTS',
    '$JS.API.CONSUMER.MSG.NEXT.TASKS.runners',
    '_INBOX.llm-proxy.x',
  ],
};

const nobodyMayPublish = [
  'toka.events.x',
  '$SYS.REQ.SERVER.PING',
  '$JS.API.DIRECT.GET.EVENTS',
  '$JS.API.STREAM.DELETE.TASKS',
];
const nobodyMayHear = [
  '>',
  'toka.>',
  'toka.events.>',
  '_INBOX.>',
  '$JS.API.>',
  '$JS.ACK.>',
  '$SYS.>',
  '$O.artifacts.>',
];

test('no service may do what is not its own, and what it may still works afterwards', async (t) => {
  await using nats = await startNatsWithUsers();
  await using stack = new AsyncDisposableStack();
  stack.use(await open(nats.url, 'store', ['log']));
  for (const user of serviceUsers) {
    const nc = await raw(stack, nats.url, user);
    for (const subject of [...mayNotPublish[user], ...nobodyMayPublish])
      t.true(await publishRefused(nc, subject), `${user} publishes ${subject}`);
    for (const subject of [...nobodyMayHear, ...inboxes(user)])
      t.true(await subscribeRefused(nc, subject), `${user} hears ${subject}`);
    t.false(await publishRefused(nc, `toka.events.system.${user}`), `${user} tells of itself`);
  }
  t.true(await subscribeRefused(await raw(stack, nats.url, 'gateway'), 'toka.tasks.>'));
  t.true(await subscribeRefused(await raw(stack, nats.url, 'gateway'), 'toka.llm.chat'));
  t.true(await subscribeRefused(await raw(stack, nats.url, 'agent-runner'), 'toka.store.query.*'));
});

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

const forged = newEvent({ type: 'toka.agent.paused.v1', data: { reason: 'forged' } }, 'agent/scout', {
  source: '/toka/thief/1',
  actor: 'user:thief',
});

test("what a runner may write and read cannot be turned into an agent's event", async (t) => {
  await using nats = await startNatsWithUsers();
  await using stack = new AsyncDisposableStack();
  const admin = stack.use(await open(nats.url, adminUser, ['log', 'leases']));
  const nc = await raw(stack, nats.url, 'agent-runner');
  const js = nc.jetstream();
  const { seq } = await js.publish(`toka.events.run.${run}`, JSON.stringify(forged));
  await js.publish('$O.artifacts.C.x', JSON.stringify(forged));
  const target = 'toka.events.agent.scout';
  // JetStream answers wherever it is told to: what it is asked with must not be bytes that are an event.
  for (const [subject, query] of [
    ['$JS.API.STREAM.MSG.GET.EVENTS', { seq }],
    ['$JS.API.STREAM.MSG.GET.OBJ_artifacts', { last_by_subj: '$O.artifacts.C.x' }],
    ['$JS.API.DIRECT.GET.EVENTS', { seq }],
    ['$JS.API.DIRECT.GET.OBJ_artifacts', { last_by_subj: '$O.artifacts.C.x' }],
    ['$JS.API.CONSUMER.MSG.NEXT.EVENTS.any', { batch: 1 }],
  ] as const)
    nc.publish(subject, JSON.stringify(query), { reply: target });
  const push = { deliver_subject: target, ack_policy: 'none', deliver_policy: 'all' };
  for (const stream of ['EVENTS', 'OBJ_artifacts'])
    nc.publish(`$JS.API.CONSUMER.CREATE.${stream}`, JSON.stringify({ stream_name: stream, config: push }), {
      reply: `${inboxPrefix('agent-runner')}.x`,
    });
  await nc.flush();
  const own = newEvent({ type: 'toka.agent.resumed.v1', data: { reason: 'real' } }, 'agent/scout', forged);
  await admin.append(own);
  const stop = new AbortController();
  const agents: string[] = [];
  for await (const each of admin.follow({ from: 1, signal: stop.signal })) {
    const text = new TextDecoder().decode(each.bytes);
    if (each.subject === target && text.startsWith('{"specversion"')) agents.push(text);
    if (each.pending === 0) stop.abort();
  }
  t.deepEqual(agents, [JSON.stringify(own)]);
});

test('a service that starts first waits for the streams that the store makes', async (t) => {
  await using nats = await startNatsWithUsers();
  const waiting = open(nats.url, 'agent-runner');
  await using _store = await open(nats.url, 'store', ['log']);
  await using runner = await waiting;
  const bytes = Buffer.alloc(400_000, 'abc');
  const ref = await runner.artifacts.put(bytes);
  t.true((await runner.artifacts.get(ref)).equals(bytes));
  t.deepEqual(violations(nats), []);
});

test('the largest event that can be written can be read', async (t) => {
  await using nats = await startNatsWithUsers();
  await using bus = await open(nats.url, adminUser, ['log', 'leases']);
  const reason = 'x'.repeat(7_400_000);
  await bus.append(newEvent({ type: 'toka.run.dispatched.v1', data: { reason } }, `run/${run}`, forged), 0);
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

test('a scheduler leads again after NATS was killed, whether the store is there or not', async (t) => {
  await using nats = await startNatsWithUsers();
  const store = await open(nats.url, 'store', ['log']);
  await using scheduler = await open(nats.url, 'scheduler', ['leases']);
  await store[Symbol.asyncDispose]();
  await using lease = scheduler.lead('scheduler', 'me', () => undefined);
  await eventually(() => lease.isHeld());
  await nats.kill();
  await eventually(() => !lease.isHeld());
  await nats.start();
  await eventually(() => lease.isHeld());
  t.deepEqual(violations(nats), []);
});

test('a gateway leads webhooks and keeps how far they have come, with its own rights', async (t) => {
  await using nats = await startNatsWithUsers();
  await using _store = await open(nats.url, 'store', ['log']);
  await using _scheduler = await open(nats.url, 'scheduler', ['leases']);
  await using gateway = await open(nats.url, 'gateway', ['positions']);
  await using lease = gateway.lead('webhooks', 'me', () => undefined);
  await eventually(() => lease.isHeld());
  await gateway.positions.put('whk_1', { seq: 1 });
  await gateway.positions.put('whk_1', { seq: 2 });
  t.deepEqual(await gateway.positions.get('whk_1'), { seq: 2 });
  await gateway.positions.remove('whk_1');
  t.is(await gateway.positions.get('whk_1'), undefined);
  t.is(await gateway.positions.get('whk_2'), undefined);
  await gateway.append(newEvent({ type: 'toka.webhook.deleted.v1', data: { reason: 'x' } }, 'webhook/whk_1', forged));
  t.deepEqual(violations(nats), []);
});
