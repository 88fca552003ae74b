import { execFile } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '#test/helpers/temporary.ts';

/** Runs the set-up of a checkout as any npm script does. */
const setUp = (folder: string, environment: Record<string, string> = {}) =>
  new Promise<{ code: number; output: string }>((resolve) => {
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
    const options = { cwd: folder, env };
    const child = execFile(process.execPath, ['shared/dev/setup.mjs'], options, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? 1, output: stdout + stderr }),
    );
  });

test('with nothing to do the set-up says nothing', async (t) => {
  t.deepEqual(await setUp('.'), { code: 0, output: '' });
});

test('a set-up that cannot reach the registry names the step and the fix, and leaves no lock behind', async (t) => {
  await using folder = await temporaryFolder();
  for (const name of ['package.json', 'package-lock.json', 'shared/dev/setup.mjs'])
    cpSync(name, join(folder.path, name), { recursive: true });
  const offline = {
    npm_config_registry: 'http://127.0.0.1:1',
    npm_config_cache: join(folder.path, 'cache'),
    npm_config_fetch_retries: '0',
  };
  for (let time = 1; time <= 2; time++) {
    const { code, output } = await setUp(folder.path, offline);
    t.is(code, 1, output);
    t.regex(output, /^set-up: packages \(npm ci\) …/);
    t.regex(output, /set-up failed at packages: npm ci .*ended with 1/);
    t.regex(output, /npm's registry cannot be reached \(ECONNREFUSED\): check the network/);
  }
});
