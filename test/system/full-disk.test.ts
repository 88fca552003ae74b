import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openLog } from '#shared/dev/launch/log-file.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Launched } from '#test/helpers/launch.ts';
import { agents, childrenIn, isRunning, launch } from '#test/helpers/launch.ts';
import { canMount, smallDisk } from '#test/helpers/small-disk.ts';

// On real disks of a few MiB, which only root can mount. Where that cannot be, one test says so and the others are left out.
const onDisk = canMount ? test.serial : test.skip;
if (!canMount) test('no disks of a few MiB can be mounted here: the tests on full disks are left out', (t) => t.pass());

type Answer = { status: number; json: { code?: string; detail?: string; id?: string; status?: string }; ms: number };

/** Asks the API of a launched system, as admin. */
function callerOf(folder: string, { api }: Launched) {
  const command = ['shared/dev/toka.ts', 'token', '--data', join(folder, 'data')];
  const env = { PATH: process.env.PATH };
  const token = execFileSync(process.execPath, command, { env, encoding: 'utf8' }).trim();
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return async (path: string, body?: object): Promise<Answer> => {
    const startedMs = performance.now();
    const init = body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers };
    const response = await fetch(`${api}${path}`, { ...init, signal: AbortSignal.timeout(20_000) });
    return {
      status: response.status,
      json: (await response.json()) as Answer['json'],
      ms: performance.now() - startedMs,
    };
  };
}

const alive = (folder: string) => childrenIn(folder).filter(isRunning).length;

onDisk('on a full disk new work is refused at once and the rest goes on, and with room again all does', async (t) => {
  await using disk = await smallDisk(256);
  writeFileSync(join(disk.path, 'agents.toml'), agents('It is not empty'));
  await using launched = await launch(disk.path);
  await eventually(() => launched.output().includes('Toka is up'));
  const ask = callerOf(disk.path, launched);
  const begin = (input = 'Say hello') => ask('/agents/anna/runs', { input });
  /** Once a run is answered with `status`. */
  const begun = (status: number) =>
    eventually(async () => {
      const answer = await begin();
      return answer.status === status && answer;
    });
  const completes = ({ json: { id } }: Answer) =>
    eventually(async () => (await ask(`/runs/${id}`)).json.status === 'completed');
  const first = await begun(202);
  await completes(first);

  disk.leave(20);
  await eventually(() => /is full: \d+ MiB of 256 MiB are left/.test(launched.output()));
  const refused = await begun(507);
  t.is(refused.json.code, 'disk-full');
  t.regex(refused.json.detail ?? '', /its disk is full/);
  t.true(refused.ms < 5_000, `${refused.ms} ms`);
  t.is((await ask('/agents/anna')).status, 200);
  await eventually(async () => (await ask('/health')).json.code === 'disk-full');
  t.regex(JSON.stringify((await ask('/status')).json), /"disk":"the disk under archive is full/);
  const doctor = ['shared/dev/toka.ts', 'doctor', '--data', join(disk.path, 'data'), '--url', launched.api];
  const told = spawnSync(process.execPath, doctor, { env: { PATH: process.env.PATH }, encoding: 'utf8' });
  t.is(told.status, 1);
  t.regex(told.stdout, /^!! {2}disk: the disk under \S+ is full: \d+ MiB of 256 MiB are left/m);

  // To the last byte: whatever is written now fails.
  disk.leave(0);
  const gateway = childrenIn(disk.path).find(({ name }) => name === 'gateway');
  process.kill(gateway?.pid ?? 0, 'SIGKILL');
  await eventually(async () => gateway && !isRunning(gateway) && (await ask('/agents/anna')).status === 200);
  t.is((await begin()).json.code, 'disk-full');
  t.is(alive(disk.path), 7);

  disk.empty();
  await eventually(() => launched.output().includes('work goes on\n'));
  await completes(await begun(202));
  await eventually(async () => (await ask('/health')).status === 200);

  // It fills while the launcher is not looking, so that nats-server writes until a write fails: it does not get over that.
  launched.child.kill('SIGSTOP');
  disk.leave(0);
  const asked = Array.from({ length: 30 }, () => begin('x'.repeat(20_000)).catch(() => undefined));
  await Promise.race([Promise.all(asked), new Promise((resolve) => setTimeout(resolve, 2_000))]);
  launched.child.kill('SIGCONT');
  t.is((await begun(507)).json.code, 'disk-full');
  disk.empty();
  await completes(await begun(202));
  t.is((await ask(`/runs/${first.json.id}`)).json.status, 'completed');
  launched.child.kill('SIGTERM');
  t.is(await launched.code, 0, launched.output());
});

onDisk('a disk that can only be read is named as such', async (t) => {
  await using disk = await smallDisk(256);
  mkdirSync(join(disk.path, 'data'));
  disk.readOnly(true);
  await using launched = await launch(disk.path);
  t.is(await launched.code, 1);
  t.regex(launched.output(), /data: the disk under \S+ can only be read\. Use another folder: npm start -- --data DIR/);
});

onDisk('a start on a disk with too little room says how much there is, and how much it needs', async (t) => {
  await using disk = await smallDisk(64);
  await using launched = await launch(disk.path);
  t.is(await launched.code, 1);
  t.regex(launched.output(), /data: the disk has 64 MiB free, and Toka needs 96 MiB to start\. Make room/);
});

onDisk('a log that cannot be written fails nobody: its lines are counted, and it goes on with room', async (t) => {
  await using disk = await smallDisk(4);
  const said: string[] = [];
  const file = join(disk.path, 'a.log');
  using log = openLog(file, (line) => said.push(line));
  log.write('first');
  disk.leave(0);
  for (let count = 0; count < 50; count++) log.write('x'.repeat(1_000));
  t.is(said.length, 1);
  t.regex(said[0] ?? '', /a\.log cannot be written \(.+\): its lines are dropped until it can/);
  disk.empty();
  log.write('last');
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  t.is(lines[0], 'first');
  t.is(lines.at(-1), 'last');
  const missing = Number(/^(\d+) lines are missing/.exec(lines.at(-2) ?? '')?.[1]);
  const whole = lines.filter((line) => line.length === 1_000).length;
  t.is(missing + whole, 50);
  t.is(said[1], `! ${missing} lines are missing from ${file}: it could not be written`);
});
