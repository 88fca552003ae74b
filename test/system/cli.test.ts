import test from 'ava';
import { startSystem, tokenOf } from '#test/helpers/system.ts';
import { toka } from '#test/helpers/toka.ts';

const agents = `[[agents]]
name = "anna"
version = "1.0.0"
domain = "docs"
priority = "high"
workstream = "main"
branch = "main"
repository = "$REPOSITORY"
[agents.capabilities]
primary = ["filesystem-read"]
[[agents.objectives]]
description = "Make an inventory of the files"
deliverable = "inventory.md"
validation = "It is not empty"
`;

test('from the command line a whole system is looked at and given work, which is waited for', async (t) => {
  await using system = await startSystem({ agents });
  const environment = { TOKA_URL: system.api, TOKA_TOKEN: await tokenOf('admin') };
  const run = (...args: string[]) => toka(args, { environment });
  await system.saw(({ type }) => type === 'toka.run.completed.v1');
  const status = await run('status');
  t.is(status.code, 0, status.err);
  t.regex(status.out, /^agent-runner\t\S+\t\S+\tyes$/m);

  const started = await run('runs', 'start', 'anna', '--objective', 'objective-1', '--wait');
  t.is(started.code, 0, started.err);
  t.regex(started.out, /^status\tcompleted$/m);
  t.regex(started.out, /^deliverable\tinventory\.md$/m);
  t.deepEqual((await run('runs', 'ls', '--status', 'completed')).out.match(/\tcompleted\t/g)?.length, 2);

  await system.kill('store');
  const ill = await run('doctor');
  t.is(ill.code, 1);
  t.regex(ill.out, /^!! {2}store: no instance answers/m);
  t.regex(ill.out, /^ok {2}agent-runner \S+: /m);
});
