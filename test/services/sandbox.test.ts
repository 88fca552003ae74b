import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { createLogger } from '#shared/log.ts';
import { readSettings } from '#shared/settings.ts';
import { createSlots } from '#shared/slots.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/agent-runner/config.ts';
import type { LeaseWish } from '../../services/agent-runner/sandbox/sandboxes.ts';
import { openSandboxes } from '../../services/agent-runner/sandbox/sandboxes.ts';

const never = new AbortController().signal;
const silent = createLogger('agent-runner', 'test', 'silent');

/** The sandboxes of a runner with these settings. */
async function open(environment: Record<string, string> = {}, slots = createSlots(4), logger = silent) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const config = readSettings(Config, { CONFIG_FILE: 'none', WORKSPACE_DIR: folder, ...environment });
  const sandboxes = stack.use(await openSandboxes(config, 'test', slots, logger));
  const owned = stack.move();
  const lease = (wish: Partial<LeaseWish> = {}, signal = never) =>
    sandboxes.lease(
      { branch: 'main', author: 'anna', memoryBytes: 512 * 1024 ** 2, cpus: 2, serveEgress: undefined, ...wish },
      signal,
    );
  const begun = async (wish: Partial<LeaseWish> = {}) => {
    const taken = await lease(wish);
    await taken.begin(null, null);
    const call = (tool: string, args: unknown, timeoutMs = 10_000) => taken.call(tool, args, timeoutMs, never);
    return {
      ...taken,
      lease: taken,
      run: (command: string, timeoutMs?: number) => call('shell', { command }, timeoutMs),
      call,
    };
  };
  return { sandboxes, lease, begun, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test('the sandbox of this machine holds against its canaries', async (t) => {
  await using opened = await open();
  t.deepEqual(opened.sandboxes.state(), { tier: 'bubblewrap', limits: 'soft', reason: '' });
});

test('a runner that is root says so where it makes sandboxes itself', async (t) => {
  const warned: unknown[] = [];
  const logger = createLogger('agent-runner', 'test', 'silent');
  logger.warn = (...said: unknown[]) => void warned.push(said.at(-1));
  await using _ = await open({}, undefined, logger);
  const isRoot = process.getuid?.() === 0;
  t.is(warned.length, isRoot ? 1 : 0);
  if (isRoot) t.regex(String(warned[0]), /this runner is root/);
});

test('without a sandbox tools are refused; switched off, it goes with no strict validation', async (t) => {
  await t.throwsAsync(open({ AGENT_SANDBOX_ENABLED: 'false' }), { code: 'invalid', message: /CAPABILITY_VALIDATION/ });
  await using off = await open({ AGENT_SANDBOX_ENABLED: 'false', CAPABILITY_VALIDATION: 'warn' });
  t.is(off.sandboxes.state().tier, 'unconfined');
  await using taken = await off.begun();
  t.regex((await taken.run('echo $((20 + 3))')).text, /^23\n\[exit code 0\]$/);
});

test('tools list, read, search, write, edit, patch, run, and hand in', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  const { call } = taken;
  t.is(
    (await call('write_file', { path: 'docs/a.md', content: 'one äöü\ntwo\n' })).text,
    'wrote 15 bytes to docs/a.md',
  );
  t.is(
    (await call('edit_file', { path: 'docs/a.md', old_text: 'two', new_text: 'three $& $1' })).text,
    'replaced it in docs/a.md',
  );
  t.is((await call('read_file', { path: 'docs/a.md' })).text, 'one äöü\nthree $& $1\n');
  t.regex(
    (await call('edit_file', { path: 'docs/a.md', old_text: 'absent', new_text: '' })).text,
    /not in "docs\/a.md"/,
  );
  t.regex((await call('edit_file', { path: 'docs/a.md', old_text: 'e', new_text: '' })).text, /3 times/);
  const patch = '--- a/docs/a.md\n+++ b/docs/a.md\n@@ -1,2 +1,2 @@\n-one äöü\n+ONE\n three $& $1\n';
  t.is((await call('apply_patch', { patch })).text, 'applied');
  t.true((await call('apply_patch', { patch })).isError);
  t.is((await call('search_files', { pattern: 'ONE' })).text, 'docs/a.md:1: ONE');
  t.regex((await call('run_code', { language: 'python', code: 'print(6 * 7)' })).text, /^42\n/);
  t.regex(
    (await call('run_code', { language: 'javascript', code: 'console.log(await Promise.resolve(7))' })).text,
    /^7\n/,
  );
  const failed = await call('run_code', { language: 'javascript', code: 'process.exit(3)' });
  t.deepEqual([failed.isError, failed.text], [true, '[exit code 3]']);
  t.regex((await call('git_status', {})).text, /\?\? docs\//);
  t.regex((await call('git_commit', { message: 'First' })).text, /First/);
  t.regex((await call('git_log', {})).text, /anna: First/);
  const { deliverable } = await call('submit_deliverable', { summary: 'done', path: 'docs/a.md' });
  t.is(Buffer.from(deliverable?.bytes ?? []).toString(), 'ONE\nthree $& $1\n');
  await call('run_code', {
    language: 'python',
    code: "import base64; open('dot.png','wb').write(base64.b64decode('iVBORw0KGgo='))",
  });
  t.like((await call('read_file', { path: 'dot.png' })).image, { mediaType: 'image/png' });
});

test('wrong arguments are answered with what to mend', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  const result = await taken.call('read_file', { file: 'README.md', limit: 'many' });
  t.true(result.isError);
  t.regex(result.text, /path: is missing; it must be a text/);
  t.regex(result.text, /limit: must be a number/);
  t.regex(result.text, /"file": no such argument; there are path, offset, limit/);
});

test('a command that takes too long, or says too much, is ended with all that it started, and says why', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  t.like(await taken.run('sleep 60 & sleep 60', 300), { isError: true, killed: 'time' });
  t.like(await taken.run('yes | head -c 200000000', 20_000), { isError: true, killed: 'output' });
  const long = await taken.run('seq 100000');
  t.false(long.isError);
  t.regex(long.text, /^1\n2\n[\s\S]*characters were left out[\s\S]*100000\n\[exit code 0\]$/);
  await taken.run('(setsid sleep 1000 >/dev/null 2>&1 &)');
  t.regex((await taken.run('pgrep -c sleep')).text, /^0\n/);
  await taken.call('write_file', { path: 'a.txt', content: `${'a'.repeat(60)}!` });
  t.like(await taken.call('search_files', { pattern: '^(a+)+$' }, 500), { isError: true, killed: 'time' });
  t.is((await taken.call('list_files', {})).text, '-\t.git/\n61\ta.txt');
});

test('a command left running is looked at, and ended', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  const { call } = taken;
  t.is((await call('shell', { command: 'echo here; sleep 60', background: true })).text, 'started job-1');
  const said = await eventually(async () => {
    const { text } = await call('shell_output', { job: 'job-1' });
    return text.includes('here') && text;
  });
  t.is(said, 'here\n\n[job-1 is running]');
  t.regex((await taken.run('pgrep -c sleep')).text, /^1\n/, 'other calls do not end it');
  await call('shell_kill', { job: 'job-1' });
  await eventually(async () => (await taken.run('pgrep -c sleep')).text.startsWith('0\n'));
  t.regex((await call('shell_output', { job: 'job-9' })).text, /there is no background command "job-9"/);
});

test('more memory than it may have ends a call, and the sandbox goes on', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun({ memoryBytes: 200 * 1024 ** 2 });
  const result = await taken.call('run_code', {
    language: 'python',
    code: 'x = []\nwhile True: x.append(bytearray(10**7))',
  });
  t.like(result, { isError: true, killed: 'memory' });
  t.true(result.peakBytes > 150 * 1024 ** 2 && result.cpuSeconds > 0);
  t.false((await taken.run('true')).isError);
});

test('snapshots make the workspace again in another sandbox, commits and what was not committed', async (t) => {
  await using opened = await open();
  const first = await opened.begun();
  t.is(await first.snapshot(), null, 'nothing is new');
  await first.run('echo one > a.txt; echo tmp > .gitignore; mkdir tmp; echo x > tmp/x');
  const one = await first.snapshot();
  t.is(await first.snapshot(), null);
  await first.run('git add . && git commit -q -m A && echo two >> a.txt && chmod +x a.txt && ln -s a.txt link');
  const two = await first.snapshot();
  await first.lease.end();
  t.false(first.alive());
  await using second = await opened.begun();
  if (!one || !two) return t.fail('there are no snapshots');
  await second.restore(one.bundle, false);
  await second.restore(two.bundle, true);
  t.is(
    (await second.run('cat a.txt; readlink link; git log --format=%s; git status --short')).text,
    'one\ntwo\na.txt\nA\n M a.txt\n?? link\n[exit code 0]',
  );
  t.is(await second.snapshot(), null, 'it is as it was saved');
  const closed = await second.closeWorkspace('The rest', ['*.txt']);
  t.like(closed, { commits: 2, changed: true, files: [{ path: 'a.txt', bytes: 8 }] });
  t.regex((await second.diff()).toString(), /\+two/);
});

test('a sandbox whose executor is killed from inside is known to be gone', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  // Landlock keeps a tool from reaching it with a signal where the kernel knows how; a bomb in its own memory does not ask.
  const result = await taken.run('kill -9 $PPID; sleep 1; echo alive');
  if (result.killed === undefined) t.regex(result.text, /not permitted[\s\S]*alive/);
  else t.deepEqual([result.killed, taken.alive()], ['sandbox', false]);
});

test('a process is started with any text in its arguments and its environment', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  const said = 'ä → 日本\n\u0001 "😀"';
  const stream = taken.lease.start({ command: ['sh', '-c', 'printf %s "$0$SAID"; cat', said], env: { SAID: said } });
  let heard = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk]);
  });
  await eventually(() => heard.byteLength >= Buffer.byteLength(said + said));
  t.is(heard.toString('utf8'), said + said);
  stream.destroy();
});

test('a process that is apart starts where nothing that a tool has written is looked up, and no tool gets there', async (t) => {
  await using opened = await open();
  await using taken = await opened.begun();
  const said = async (apart: boolean) => {
    const look =
      'import os, planted_in_home\nprint(os.getcwd(), os.environ["HOME"], flush=True); open("own", "w"); input()';
    const command = [
      'sh',
      '-c',
      'python3 -m planted 2>&1; python3 -c "$0" 2>&1; cat',
      look.replace(', planted_in_home', apart ? '' : ', planted_in_home'),
    ];
    const stream = taken.lease.start({ command, env: { TOKEN: 'x' }, apart });
    let heard = '';
    stream.on('data', (chunk: Buffer) => {
      heard += chunk;
    });
    await eventually(() => /^\/\S+ \/\S+\n/m.test(heard));
    return { heard, stream };
  };
  await taken.run(
    'echo "print(\'stolen\')" > planted.py; d=$(python3 -c "import site; print(site.getusersitepackages())"); mkdir -p $d; touch $d/planted_in_home.py; echo "print(\'poisoned\')" > $d/usercustomize.py',
  );
  const inside = await said(false);
  t.regex(inside.heard, /^poisoned\nstolen\npoisoned\n\/workspace \/tmp\n$/);
  inside.stream.destroy();
  const { heard, stream } = await said(true);
  t.regex(heard, /No module named planted\n(\/homes\/\S+) \1\n$/);
  t.notRegex(heard, /poisoned|stolen/);
  const home = /\/homes\/\S+/.exec(heard)?.[0];
  const { text } = await taken.run(`ls /homes ${home}; touch ${home}/x; echo x > ${home}/own; mkdir /homes/y`);
  t.is(text.match(/ermission denied/g)?.length, 5, text);
  stream.destroy();
});

test('an abort ends the call at hand, and the sandboxes are shared in turn', async (t) => {
  const slots = createSlots(1);
  await using opened = await open({}, slots);
  await using first = await opened.begun();
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 200);
  await t.throwsAsync(first.lease.call('shell', { command: 'sleep 60' }, 60_000, abort.signal), {
    code: 'unavailable',
  });
  await eventually(async () => (await first.run('pgrep -c sleep')).text.startsWith('0\n'));
  const next = opened.lease();
  t.is(await Promise.race([next, delay(300, 'waits')]), 'waits');
  await first.lease.end();
  await (await next).end();
  const late = new AbortController();
  await using holder = await opened.lease();
  setTimeout(() => late.abort(), 100);
  await t.throwsAsync(opened.lease({}, late.signal));
  t.true(holder.alive());
});

test('nobody of this process is seen inside: neither environment nor files', async (t) => {
  process.env.TOKA_CANARY = 'seen';
  await using opened = await open();
  await using taken = await opened.begun();
  const { text } = await taken.run(
    'env; ls /root /home /work /tmp 2>&1; cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n"',
  );
  t.false(text.includes('TOKA_CANARY'), text);
  t.regex(text, /GIT_AUTHOR_NAME=anna/);
});
