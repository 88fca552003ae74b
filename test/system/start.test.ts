import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { agents, childrenIn, isRunning, launch } from '#test/helpers/launch.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

test.serial(
  'it works off all objectives, says what came of them, and ends 0; a second time there is nothing left to do',
  async (t) => {
    await using folder = await temporaryFolder();
    writeFileSync(join(folder.path, 'agents.toml'), agents('It has the heading "Files"'));
    const first = await launch(folder.path, ['--until-idle']);
    t.is(await first.code, 0, first.output());
    t.regex(first.output(), /DEMO PROVIDER: no language model is at work/);
    t.regex(first.output(), /ANTHROPIC_API_KEY=… npm start/);
    t.regex(first.output(), /anna +objective-1 +completed +\d+ +\d+ +\$0\.0000 +\S*inventory\.md/);
    t.regex(readFileSync(join(folder.path, 'data/deliverables/anna/objective-1/inventory.md'), 'utf8'), /## Files/);
    t.is(statSync(join(folder.path, 'data', 'secrets.json')).mode & 0o777, 0o600);
    const second = await launch(folder.path, ['--until-idle']);
    t.is(await second.code, 0, second.output());
    t.regex(second.output(), /anna +next +completed/);
    t.notRegex(second.output(), /anna\/next {2}started/);
  },
);

test.serial('it ends 1 when an objective failed, and says why; what depends on it fails too', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It has at least 5000 words'));
  const launched = await launch(folder.path, ['--until-idle']);
  t.is(await launched.code, 1, launched.output());
  t.regex(launched.output(), /anna +objective-1 +failed/);
  t.regex(launched.output(), /anna +next +failed/);
  t.regex(launched.output(), /anna\/objective-1: .*at least 5000 words/);
  t.regex(launched.output(), /anna\/next: it waits for "objective-1", which has failed/);
});

test.serial('Ctrl-C ends every process, and no second start takes the folder before', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
  const first = await launch(folder.path);
  await eventually(() => first.output().includes('Toka is up'));
  const marks = childrenIn(folder.path);
  t.deepEqual(marks.map(({ name }) => name).toSorted(), [
    'agent-runner',
    'gateway',
    'llm-proxy',
    'nats-server',
    'redis-server',
    'scheduler',
    'store',
  ]);
  t.true(marks.every(isRunning));
  const second = await launch(folder.path);
  t.is(await second.code, 1);
  t.regex(second.output(), /Toka runs on .* already \(process \d+\)\. Stop it first, or use another folder/);
  first.child.kill('SIGINT');
  t.is(await first.code, 0, first.output());
  t.deepEqual(marks.filter(isRunning), []);
});

test.serial('Ctrl-C while it starts ends it, and a second one ends all at once', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
  const early = await launch(folder.path);
  await eventually(() => early.output().includes('starting nats-server'));
  early.child.kill('SIGINT');
  t.is(await early.code, 0, early.output());
  const twice = await launch(folder.path);
  await eventually(() => twice.output().includes('Toka is up'));
  const marks = childrenIn(folder.path);
  twice.child.kill('SIGINT');
  twice.child.kill('SIGTERM');
  t.true([0, 130].includes((await twice.code) ?? 1), twice.output());
  await eventually(() => marks.filter(isRunning).length === 0);
});

test.serial(
  'what a launcher that was killed left running is ended by the next, which goes on with the data',
  async (t) => {
    await using folder = await temporaryFolder();
    writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
    const first = await launch(folder.path);
    await eventually(() => first.output().includes('Toka is up'));
    const marks = childrenIn(folder.path);
    first.child.kill('SIGKILL');
    await first.code;
    t.true(marks.some(isRunning), 'the servers outlive it');
    const second = await launch(folder.path, ['--until-idle']);
    t.is(await second.code, 0, second.output());
    t.deepEqual(marks.filter(isRunning), []);
  },
);

test.serial('a service that dies is started again', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
  const launched = await launch(folder.path);
  await eventually(() => launched.output().includes('Toka is up'));
  const scheduler = childrenIn(folder.path).find(({ name }) => name === 'scheduler');
  process.kill(scheduler?.pid ?? 0, 'SIGKILL');
  await eventually(() => {
    const now = childrenIn(folder.path).find(({ name }) => name === 'scheduler');
    return now && now.pid !== scheduler?.pid && isRunning(now);
  });
  t.regex(launched.output(), /! scheduler ended with SIGKILL; it is started again/);
  launched.child.kill('SIGTERM');
  t.is(await launched.code, 0);
});

test.serial('nats-server and redis-server that are killed are started again, on the data that they had', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
  await using launched = await launch(folder.path);
  await eventually(() => launched.output().includes('anna/next  ✔ completed'));
  const tokenOf = ['shared/dev/toka.ts', 'token', '--data', join(folder.path, 'data')];
  const token = execFileSync(process.execPath, tokenOf, { env: { PATH: process.env.PATH }, encoding: 'utf8' }).trim();
  const read = async (path: string) => {
    const response = await fetch(`${launched.api}${path}`, { headers: { authorization: `Bearer ${token}` } });
    return (await response.json()) as { ready?: boolean; items?: { status: string }[]; log?: { seq: number } };
  };
  const before = (await read('/status')).log?.seq ?? 0;
  t.true(before > 10);
  for (const server of ['nats-server', 'redis-server']) {
    const killed = childrenIn(folder.path).find(({ name }) => name === server);
    process.kill(killed?.pid ?? 0, 'SIGKILL');
    await eventually(() => {
      const now = childrenIn(folder.path).find(({ name }) => name === server);
      return now && now.pid !== killed?.pid && isRunning(now);
    });
    t.regex(launched.output(), new RegExp(`! ${server} ended with SIGKILL; it is started again`));
    await eventually(async () => (await read('/status')).ready === true);
  }
  t.true(((await read('/status')).log?.seq ?? 0) >= before);
  t.deepEqual(
    (await read('/runs')).items?.map(({ status }) => status),
    ['completed', 'completed'],
  );
  launched.child.kill('SIGTERM');
  t.is(await launched.code, 0, launched.output());
});

test.serial('of many starts at once one takes the folder, though a dead one has left its note there', async (t) => {
  await using folder = await temporaryFolder();
  const dead = { launcher: { name: 'launcher', pid: 1, started: 'never' }, children: [] };
  mkdirSync(join(folder.path, 'data'));
  for (let round = 0; round < 3; round++) {
    writeFileSync(join(folder.path, 'data', 'run.json'), JSON.stringify(dead));
    const at = String(Date.now() + 1_500);
    const takers = Array.from({ length: 6 }, () =>
      spawn(process.execPath, ['test/fixtures/take-home.ts', join(folder.path, 'data'), at], { stdio: 'pipe' }),
    );
    const said = await Promise.all(takers.map(async ({ stdout }) => String((await once(stdout, 'data'))[0]).trim()));
    t.is(said.filter((line) => line === 'taken').length, 1, said.join('\n'));
    t.is(
      said.filter((line) => /conflict: (Toka runs on .* already|another start has just taken)/.test(line)).length,
      5,
    );
    await Promise.all(takers.map(async (each) => each.kill() && once(each, 'exit')));
  }
});

test.serial('each service is given its own settings and nothing of the others', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
  const launched = await launch(folder.path, [], {
    LLM_PROVIDER: 'demo',
    ANTHROPIC_API_KEY: 'sk-of-the-test',
    SOMETHING_ELSE: 'x',
  });
  await eventually(() => launched.output().includes('Toka is up'));
  for (const { name, pid } of childrenIn(folder.path)) {
    const names = readFileSync(`/proc/${pid}/environ`, 'utf8')
      .split('\0')
      .map((line) => line.split('=')[0]);
    t.is(names.includes('ANTHROPIC_API_KEY'), name === 'llm-proxy', name);
    t.is(names.includes('REDIS_PASSWORD'), name === 'llm-proxy', name);
    t.is(names.includes('JWT_SECRET'), name === 'gateway', name);
    t.false(names.includes('SOMETHING_ELSE'), name);
  }
  launched.child.kill('SIGTERM');
  t.is(await launched.code, 0);
});

test.serial('the token that it names opens the API', async (t) => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
  const launched = await launch(folder.path);
  const api = await eventually(() => /Agent API +(\S+)\s/.exec(launched.output())?.[1]);
  const toka = ['shared/dev/toka.ts', 'token', '--data', join(folder.path, 'data'), '--scope', 'agents:read'];
  const token = execFileSync(process.execPath, toka, { env: { PATH: process.env.PATH }, encoding: 'utf8' }).trim();
  const get = (path: string) => fetch(`${api}${path}`, { headers: { authorization: `Bearer ${token}` } });
  t.is((await get('/agents/anna')).status, 200);
  t.is((await get('/runs')).status, 403);
  launched.child.kill('SIGTERM');
  t.is(await launched.code, 0);
});

const wrong: [string[], Record<string, string>, RegExp][] = [
  [['--until-done'], {}, /Unknown option '--until-done'/],
  [[], { MAX_CONCURRENT_AGENTS: 'many' }, /MAX_CONCURRENT_AGENTS got "many": /],
  [[], { JWT_SECRET: 'short' }, /JWT_SECRET got a value: must have at least 32 characters/],
  [[], { NATS_PORT: 'x' }, /NATS_PORT got "x": it takes a port/],
  [[], { NATS_SYNC: 'often' }, /NATS_SYNC got "often": it takes always or interval/],
  [[], { LLM_PROVIDER: 'anthropic' }, /ANTHROPIC_API_KEY is required/],
];

test.serial('a wrong option or setting ends it with what is wrong, and leaves nothing running', async (t) => {
  for (const [args, environment, message] of wrong) {
    await using folder = await temporaryFolder();
    writeFileSync(join(folder.path, 'agents.toml'), agents('It is not empty'));
    const launched = await launch(folder.path, args, environment);
    t.is(await launched.code, 1);
    t.regex(launched.output(), message);
  }
});
