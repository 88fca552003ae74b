import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import test from 'ava';
import { openBus } from '#shared/bus/bus.ts';
import type { Passwords } from '#shared/bus/users.ts';
import { adminUser, authorization, userNames } from '#shared/bus/users.ts';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { startService } from '#shared/service.ts';
import { append } from '#test/helpers/archived-log.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { natsServers } from '#test/helpers/servers.ts';
import type { SmallDisk } from '#test/helpers/small-disk.ts';
import { canMount, smallDisk } from '#test/helpers/small-disk.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';

// compose/nats/start.sh, outside Docker: the container's root is a folder, and its volume a small disk.

const onDisk = canMount ? test : test.skip;
const passwords = Object.fromEntries(userNames.map((user) => [user, `of ${user}`])) as Passwords;

/** The script with its settings, in a folder that it takes for the root. */
async function layOut(root: string, disk: SmallDisk, program: string) {
  const port = await freePort();
  const monitor = await freePort();
  for (const folder of ['bin', 'tmp', 'data/nats-auth', 'etc/toka']) mkdirSync(join(root, folder), { recursive: true });
  symlinkSync(disk.path, join(root, 'data/nats'));
  const isNew = program !== 'nats-server';
  writeFileSync(join(root, 'bin/nats-server'), `#!/bin/sh\nPATH=${process.env.PATH} exec ${program} "$@"\n`, {
    mode: 0o700,
  });
  writeFileSync(join(root, 'data/nats-auth/password'), passwords[adminUser]);
  writeFileSync(join(root, 'data/nats-auth/users.conf'), authorization(passwords));
  const script = readFileSync('compose/nats/start.sh', 'utf8')
    .replaceAll(/(?<=[ '"])\/(?=(data|etc|tmp)\/)/g, `${root}/`)
    .replaceAll('127.0.0.1:8222', `127.0.0.1:${monitor}`);
  writeFileSync(join(root, 'start.sh'), script);
  const settings = readFileSync('compose/nats/nats.conf', 'utf8')
    .replace('port: 4222', `listen: "127.0.0.1:${port}"`)
    .replace('http_port: 8222', `http: "127.0.0.1:${monitor}"`)
    .replace('/data/nats', disk.path)
    .replace(/sync_interval: .*/, isNew ? '$&' : ''); // 2.9 does not know it
  writeFileSync(join(root, 'etc/toka/nats.conf'), settings);
  return { port, monitor };
}

async function start(disk: SmallDisk, program: string) {
  await using stack = new AsyncDisposableStack();
  const root = stack.use(await temporaryFolder()).path;
  const { port, monitor } = await layOut(root, disk, program);
  const url = `nats://127.0.0.1:${port}`;
  const child = spawn('sh', [join(root, 'start.sh')], {
    env: { PATH: [join(root, 'bin'), process.env.PATH].join(delimiter) },
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const ended = once(child, 'exit');
  stack.defer(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // it and its server have ended
    }
  });
  const user = { user: adminUser, password: passwords[adminUser] };
  const clients = stack.use(new AsyncDisposableStack());
  const bus = clients.use(await openBus({ url, ...user, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  // It says whether events may be appended, at each start of nats-server.
  clients.use(
    await startService('store', Config, startStore, {
      ...{ NATS_URL: url, NATS_USER: 'store', NATS_PASSWORD: passwords.store, METRICS_PORT: '0' },
      ...{ METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent', CONFIG_FILE: 'none', DATABASE_FILE: join(root, 'a.sqlite') },
    }),
  );
  const owned = stack.move();
  return {
    child,
    ended,
    port,
    monitor: `http://127.0.0.1:${monitor}`,
    bus,
    clients,
    output: () => output,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

for (const program of natsServers)
  onDisk(`the stack's nats-server comes back by itself after its disk was full (${program})`, async (t) => {
    await using disk = await smallDisk(256);
    await using nats = await start(disk, program);
    const { bus, output } = nats;
    const said = (text: string, times: number) =>
      eventually(async () => output().split(text).length - 1 === times, 60_000);
    let count = 0;
    const next = () => append(bus, `a${count++}`, 2_000);
    const goesOn = () => eventually(next, 30_000);
    await goesOn();
    const first = await bus.messagesAt([1]);

    disk.leave(20);
    await said('is full: ', 1);
    await eventually(async () => {
      const error = await next().catch((reason: unknown) => reason);
      return error instanceof Error && 'code' in error && error.code === 'disk-full';
    }, 10_000);
    t.deepEqual(await bus.messagesAt([1]), first, 'what it holds can be read');
    disk.leave(0);
    disk.empty();
    await said('MiB free: nats-server is started again, and work goes on', 1);
    await goesOn();

    // It fills while nobody looks, so that nats-server writes until a write fails.
    const failWrites = async () => {
      nats.child.kill('SIGSTOP');
      disk.leave(0);
      const writes = Array.from({ length: 20 }, () => next().catch((reason: unknown) => reason));
      t.true((await Promise.all(writes)).some((each) => each instanceof Error));
    };
    await failWrites();
    nats.child.kill('SIGCONT');
    await said('is full: ', 2);
    disk.empty();
    await said('MiB free: nats-server is started again, and work goes on', 2);
    await goesOn();

    // And has room again before anybody looked: who was well once, and is not any more, is started again.
    await eventually(async () => {
      const { http_req_stats: asked } = (await (await fetch(`${nats.monitor}/varz`)).json()) as {
        http_req_stats: Record<string, number>;
      };
      return (asked['/jsz'] ?? 0) > 0;
    });
    await failWrites();
    disk.empty();
    nats.child.kill('SIGCONT');
    await said('nats-server has not been well for', 1);
    await goesOn();

    t.deepEqual(await bus.messagesAt([1]), first);
    await nats.clients.disposeAsync();
    nats.child.kill('SIGTERM');
    t.deepEqual(await nats.ended, [0, null]);
    t.false(await answers(nats.port));
  });
