import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { launch } from '#test/helpers/launch.ts';
import { cutLog } from '#test/helpers/log-damage.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { toka } from '#test/helpers/toka.ts';

const agents = `
[[agents]]
name = "anna"
version = "1.0.0"
domain = "test"
priority = "high"
workstream = "main"
branch = "main"
[agents.capabilities]
primary = ["filesystem-read"]
secondary = ["capability3"]
[[agents.objectives]]
description = "Make an inventory"
deliverable = "inventory.md"
validation = "It is not empty"
`;

const token = async (data: string) => (await toka(['token', '--data', data])).out.trim();

const ask = async (url: string, bearer: string, body?: unknown) => {
  const response = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
};

test.serial(
  'after a power cut npm start puts back what the log has lost, and where that is for a person to decide nothing is written until then',
  async (t) => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'data');
    writeFileSync(join(folder.path, 'agents.toml'), agents);
    const first = await launch(folder.path, ['--until-idle']);
    t.is(await first.code, 0, first.output());

    cutLog({ folder: join(data, 'nats') });
    const second = await launch(folder.path, ['--until-idle']);
    t.is(await second.code, 0, second.output());
    t.regex(second.output(), /The log lacked \d+ events at its end.*they are back at their places/);
    t.notRegex(second.output(), /anna\/\S+ {2}started/, 'what was done is known');

    rmSync(join(data, 'nats'), { recursive: true });
    await using third = await launch(folder.path);
    await third.up();
    t.regex(third.output(), /! the log is damaged: it is empty, and the archive holds \d+ events\. "toka log restore"/);
    const bearer = await token(data);
    const post = (name: string) => ask(`${third.api}/agents`, bearer, agentInput({ name }));
    const refused = await post('bella');
    t.is(refused.status, 503);
    t.regex(String(refused.json.detail), /nothing is written to the log: .*toka log restore/);
    t.is((await ask(`${third.api}/health`, bearer)).status, 503);
    const status = (await ask(`${third.api}/status`, bearer)).json as {
      ready: boolean;
      services: { checks: object }[];
    };
    t.false(status.ready);
    t.is(status.services.filter(({ checks }) => /toka log restore/.test(JSON.stringify(checks))).length, 5);
    const { items } = (await ask(`${third.api}/agents`, bearer)).json as { items: { id: string }[] };
    t.deepEqual(
      items.map(({ id }) => id),
      ['anna'],
      'what the archive knows can be read meanwhile',
    );

    const mended = await toka(['log', 'restore', '--data', data]);
    t.is(mended.code, 0, mended.err);
    t.regex(mended.out + mended.err, /made anew from the archive: \d+ events/);
    await eventually(async () => (await post('bella')).status === 201);
  },
);

type Run = { id: string; status: string };
const over = ['completed', 'failed', 'cancelled'];

test.serial(
  'a backup that is made while runs are under way is restored into an empty folder, and all of them end there',
  async (t) => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'data');
    const kept = join(folder.path, 'backup');
    writeFileSync(join(folder.path, 'agents.toml'), agents);
    await using before = await launch(folder.path, [], { MAX_CONCURRENT_AGENTS: '2' });
    await before.up();
    const bearer = await token(data);
    const runs = async (api: string) => ((await ask(`${api}/runs?limit=200`, bearer)).json as { items: Run[] }).items;
    for (let count = 0; count < 12; count++)
      t.is((await ask(`${before.api}/agents/anna/runs`, bearer, { input: `Look at the files, ${count}` })).status, 202);
    await eventually(async () => (await runs(before.api)).some(({ status }) => status === 'completed'));
    const made = await toka(['backup', kept, '--data', data, '--json']);
    t.is(made.code, 0, made.err);
    const backup = JSON.parse(made.out) as { seq: number; chainHead: string; artifacts: number; missing: string[] };
    t.true(backup.artifacts > 0);
    t.deepEqual(backup.missing, []);
    t.is(statSync(join(kept, 'secrets.json')).mode & 0o777, 0o600);
    t.is(statSync(join(kept, 'toka.sqlite')).mode & 0o777, 0o600);

    // Nothing is left: neither processes nor data.
    const { children } = JSON.parse(readFileSync(join(data, 'run.json'), 'utf8')) as { children: { pid: number }[] };
    before.child.kill('SIGKILL');
    await before.code;
    for (const { pid } of children)
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has gone with its parent
      }
    rmSync(data, { recursive: true, force: true });

    const wrong = await toka(['restore', folder.path, '--data', data]);
    t.is(wrong.code, 1);
    t.regex(wrong.err, /holds no whole backup/);
    const restored = await toka(['restore', kept, '--data', data, '--json']);
    t.is(restored.code, 0, restored.err);
    t.like(JSON.parse(restored.out), { seq: backup.seq, chainHead: backup.chainHead });
    const twice = await toka(['restore', kept, '--data', data]);
    t.regex(twice.err, /holds data already/);

    await using after = await launch(folder.path, [], { MAX_CONCURRENT_AGENTS: '4' });
    await after.up();
    const known = await runs(after.api);
    t.true(known.length >= 12);
    t.true(
      known.some(({ status }) => !over.includes(status)),
      'some were under way',
    );
    await eventually(async () => (await runs(after.api)).every(({ status }) => over.includes(status)), 90_000);
    t.deepEqual([...new Set((await runs(after.api)).map(({ status }) => status))], ['completed']);
    const anchored = `${after.api}/audit/verify?anchorSeq=${backup.seq}&anchorHead=${backup.chainHead}`;
    t.like((await ask(anchored, bearer)).json, {
      intact: true,
      log: { missing: 0, differsAt: null },
      anchor: { seq: backup.seq, holds: true },
    });
  },
);
