import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import type { Stack } from '#test/helpers/stack.ts';
import { docker, openStack, wanted } from '#test/helpers/stack.ts';

// Sandboxes that are containers, with real leases: a script in the runner's container drives them as a run does.

const stackTest = wanted ? test.serial : test.serial.skip;

/** Leases in the runner's image, beside the sandboxes: what it prints last is JSON. */
const driver = (body: string) => `
import { setTimeout as delay } from 'node:timers/promises';
import { openContainers } from '/app/services/agent-runner/sandbox/containers.ts';
import { openLease } from '/app/services/agent-runner/sandbox/lease.ts';
const containers = await openContainers('/data/sandboxes', 'driver');
const never = new AbortController().signal;
const lease = async () => {
  const taken = await openLease(await containers.take(AbortSignal.timeout(20_000)), { branch: 'main', author: 'anna', network: false, processesMax: 1_000_000, fileBytesMax: 1024 ** 3, serveEgress: undefined, watch: undefined });
  await taken.begin(null, null);
  return Object.assign(taken, { run: async (command, timeoutMs = 20_000) => taken.call('shell', { command }, timeoutMs, never) });
};
const result = await (async () => { ${body} })();
process.stdout.write(JSON.stringify(result));
process.exit(0);
`;

/** Runs a driver where the sandboxes' sockets are, as the runner's own user. */
async function drive<T>(stack: Stack, body: string): Promise<T> {
  const volume = `${stack.name}_sandboxes:/data/sandboxes`;
  const node = ['node', '--input-type=module', '-e', driver(body)];
  const answer = await docker('run', '--rm', '--network', 'none', '-v', volume, 'toka:test', ...node);
  return JSON.parse(answer) as T;
}

stackTest('sandboxes are containers that hold what runs in them, and are new after each lease', async (t) => {
  t.timeout(240_000);
  await using stack = await openStack({ settings: { AGENT_POOL_SIZE: '2', MAX_DISK_PER_AGENT: '64m' } });
  await stack.compose('build', 'check-settings');
  await stack.compose('up', '-d', '--wait', 'sandbox');
  const [id = ''] = await stack.containers('sandbox');
  const [inspected] = JSON.parse(await docker('inspect', id));
  t.is(inspected.HostConfig.NetworkMode, 'none');
  t.is(inspected.HostConfig.MemorySwap, inspected.HostConfig.Memory);
  t.is(inspected.HostConfig.NanoCpus, 500_000_000);
  t.deepEqual(
    inspected.Config.Env.filter((each: string) => /SECRET|KEY|PASSWORD|TOKEN|NATS/.test(each)),
    [],
  );

  const seen = await drive<Record<string, { text: string; killed?: string; isError: boolean; cpuSeconds: number }>>(
    stack,
    `
    const first = await lease();
    const neighbour = await lease();
    const out = {};
    out.own = await first.run('id -u; cat /data/sandboxes/token; cat /proc/1/environ; cat /proc/$PPID/environ; ls /data; true');
    out.network = await first.run('(exec 3<>/dev/tcp/1.1.1.1/443) 2>&1; cat /proc/net/dev | tail -n +3 | cut -d: -f1');
    out.python = await first.call('run_code', { language: 'python', code: 'print(sum(range(10)))' }, 20_000, never);
    const apart = first.start({ command: ['sh', '-c', 'echo x > own; pwd; cat'], env: {}, apart: true });
    const home = String(await new Promise((resolve) => apart.once('data', resolve))).trim();
    out.apart = await first.run('ls /homes; cat ' + home + '/own; touch ' + home + '/y /homes/y');
    out.apart.text = home + '\\n' + out.apart.text;
    apart.destroy();
    out.spin = await first.run('timeout 3 sh -c "while :; do :; done" & timeout 3 sh -c "while :; do :; done"; wait');
    out.memory = await first.run('for i in 1 2 3 4; do python3 -c "x = bytearray(300 * 1024 ** 2); import time; time.sleep(5)" & done; wait; echo done');
    out.alive = await first.run('echo alive');
    out.forks = await first.run('f() { f | f & }; f 2>/dev/null; sleep 2; echo over', 6_000);
    out.full = await neighbour.run('head -c 100M /dev/zero > /workspace/big; echo $?; rm /workspace/big; echo again > a && cat a');
    out.neighbour = await neighbour.run('echo alive');
    return out;`,
  );
  t.regex(seen.own?.text ?? '', /^10001\n/);
  t.notRegex(seen.own?.text ?? '', /[0-9a-f]{64}|NODE_OPTIONS/, 'neither the token nor another environment');
  t.regex(seen.network?.text ?? '', /unreachable[\s\S]*lo\n/);
  t.regex(seen.python?.text ?? '', /^45\n/);
  t.regex(
    seen.apart?.text ?? '',
    /^\/homes\/home-\w+\n(.*Permission denied\n){4}/,
    'a process that is apart is out of reach',
  );
  t.true((seen.spin?.cpuSeconds ?? 9) < 2.2, `${seen.spin?.cpuSeconds} s of 6`);
  t.is(seen.memory?.killed, 'memory');
  t.regex(seen.alive?.text ?? '', /^alive/);
  t.regex(seen.neighbour?.text ?? '', /^alive/);
  t.regex(seen.full?.text ?? '', /No space left[\s\S]*again/);

  const again = await drive<{ text: string; ms: number }>(
    stack,
    `
    const first = await lease();
    const second = await lease();
    await first.run('echo left > /workspace/left; echo left > /tmp/left; echo left > /dev/shm/left; mkdir -m 0 /tmp/locked; (setsid sleep 1000 >/dev/null 2>&1 &)');
    await first.call('shell', { command: 'sleep 1000', background: true }, 5_000, never);
    const startedMs = performance.now();
    await first.end();
    const third = await lease();
    const ms = performance.now() - startedMs;
    const { text } = await third.run('ls -A /workspace /tmp /dev/shm; ps ax 2>/dev/null | grep -c "[s]leep 1000"; ls -d /proc/[0-9]* | wc -l');
    return { text, ms };`,
  );
  t.notRegex(again.text, /left|locked/);
  t.log(`a lease after a lease: ${Math.round(again.ms)} ms`);
  t.true(again.ms < 3_000);
});

stackTest('in the stack, tools run in those containers: a run works there, and the runner says so', async (t) => {
  t.timeout(240_000);
  await using stack = await openStack();
  await stack.compose('build', 'check-settings');
  await stack.up();
  const agent = {
    name: 'worker',
    version: '1',
    domain: 'tests',
    priority: 'high',
    workstream: 'stack',
    branch: 'main',
    schedule: '0 0 1 1 *',
    capabilities: { primary: ['shell'], secondary: [] },
    objectives: [{ description: 'x', deliverable: 'x.md', validation: 'x' }],
  };
  await stack.ask('/agents', agent);
  const ready = await stack
    .shell(
      'agent-runner',
      'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET /health/ready HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3',
    )
    .catch(async () =>
      stack.compose(
        'exec',
        '-T',
        'agent-runner',
        'bash',
        '-c',
        'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET /health/ready HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3',
      ),
    );
  t.regex(ready, /"sandbox":"ok"/);
  const [tier] = await eventually(async () => {
    const found = await stack.query('toka_sandbox{tier="container", limits="hard"} == 1');
    return found.length > 0 && found;
  }, 60_000);
  t.truthy(tier);
  const runs = await stack.ask<{ items: { id: string; status: string }[] }>('/runs');
  t.true(Array.isArray(runs.items));
});
