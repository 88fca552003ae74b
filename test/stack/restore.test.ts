import test from 'ava';
import { docker, openStack, wanted } from '#test/helpers/stack.ts';

// A backup of the stack and its way back, by the commands that services/store/README.md gives.

const stackTest = wanted ? test.serial : test.serial.skip;
const some = ['nats', 'store', 'gateway'];

stackTest('a backup that was made while the stack runs is restored into an empty one, and work goes on', async (t) => {
  t.timeout(300_000);
  await using all = new AsyncDisposableStack();
  const stack = all.use(await openStack());
  await stack.compose('build', 'check-settings');
  // In place of a folder of this machine. Only the image's user is to read it.
  const kept = `${stack.name}-backup`;
  all.defer(async () => void (await docker('volume', 'rm', '-f', kept)));
  await docker('run', '--rm', '--user=0', '-v', `${kept}:/backup`, 'toka:test', 'chown', '10001:10001', '/backup');
  const toka = (...args: string[]) =>
    stack.compose('run', '--rm', '-v', `${kept}:/backup`, 'set-up-nats', 'node', 'shared/dev/toka.ts', ...args);

  await stack.up(...some);
  const agent = {
    ...{ name: 'anna', version: '1.0.0', domain: 'tests', priority: 'medium', workstream: 'stack', branch: 'main' },
    ...{ repository: '.', capabilities: { primary: ['filesystem-read'], secondary: [] } },
    objectives: [{ description: 'List the files.', deliverable: 'files.md', validation: 'It is not empty.' }],
  };
  await stack.ask('/agents', agent);
  const made = JSON.parse(await toka('backup', '/backup/today', '--json')) as { seq: number; chainHead: string };
  t.true(made.seq > 0);

  await stack.compose('down', '--volumes', '--timeout', '5');
  await stack.up('nats');
  const { seq, chainHead } = made;
  t.like(JSON.parse(await toka('restore', '/backup/today', '--json')), { seq, chainHead });
  await stack.up(...some);
  t.like(await stack.ask('/agents/anna'), { id: 'anna' });
  t.like(await stack.ask(`/audit/verify?anchorSeq=${seq}&anchorHead=${chainHead}`), {
    intact: true,
    log: { missing: 0, differsAt: null },
    anchor: { seq, holds: true },
  });
  t.like(await stack.ask('/agents', { ...agent, name: 'bella' }), { id: 'bella' });
});
