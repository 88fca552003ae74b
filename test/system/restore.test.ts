import { rmSync, writeFileSync } from 'node:fs';
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
    const status = (await ask(`${third.api}/status`, bearer)).json as { ready: boolean; services: { checks: object }[] };
    t.false(status.ready);
    t.is(status.services.filter(({ checks }) => /toka log restore/.test(JSON.stringify(checks))).length, 5);
    const { items } = (await ask(`${third.api}/agents`, bearer)).json as { items: { id: string }[] };
    t.deepEqual(items.map(({ id }) => id), ['anna'], 'what the archive knows can be read meanwhile');

    const mended = await toka(['log', 'restore', '--data', data]);
    t.is(mended.code, 0, mended.err);
    t.regex(mended.out + mended.err, /made anew from the archive: \d+ events/);
    await eventually(async () => (await post('bella')).status === 201);
  },
);
