import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { startOutside } from '#test/helpers/outside.ts';
import type { Stack } from '#test/helpers/stack.ts';
import { docker, openStack, wanted } from '#test/helpers/stack.ts';

// The stack that people deploy, from compose.yaml and .env.example. npm run test:stack

const stackTest = wanted ? test.serial : test.serial.skip;
const run = promisify(execFile);
const ours = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'];
type Inspected = {
  Config: { User: string; Image: string };
  State: { Status: string; Pid: number };
  HostConfig: {
    ReadonlyRootfs: boolean;
    CapDrop: string[];
    CapAdd: string[] | null;
    SecurityOpt: string[];
    PidsLimit: number;
    Memory: number;
    NanoCpus: number;
    RestartPolicy: { Name: string };
    LogConfig: { Type: string; Config: Record<string, string> };
    PortBindings: Record<string, { HostIp: string }[]> | null;
  };
  Mounts: { Destination: string; RW: boolean }[];
};
const inspect = async (id: string): Promise<Inspected> => JSON.parse(await docker('inspect', id))[0];

test.before(async (t) => {
  if (!wanted) return t.log('SKIPPED: the tests of the stack need Docker; npm run test:stack runs them');
  t.timeout(900_000);
  const settings = { MAX_CONCURRENT_AGENTS: '2', RATE_LIMIT_REQUESTS: '5000', RETRY_BACKOFF: '1' };
  shared = await openStack({ settings });
  await shared.compose('build', 'check-settings');
  const size = Number(await docker('image', 'inspect', '-f', '{{.Size}}', 'toka:test'));
  t.log(`the image: ${Math.round(size / 1e6)} MB`);
  if (shared.missing.length > 0) t.log(`LEFT OUT, for their images cannot be had here: ${shared.missing.join(', ')}`);
});
test.after.always(async () => shared?.[Symbol.asyncDispose]());
let shared: Stack | undefined;
const opened = (): Stack => {
  if (!shared) throw new Error('the stack was not opened');
  return shared;
};

stackTest('the image: not root, no package manager, a bill of materials, labels', async (t) => {
  const [image] = JSON.parse(await docker('image', 'inspect', 'toka:test'));
  t.is(image.Config.User, '10001:10001');
  t.is(image.Config.Labels['org.opencontainers.image.licenses'], 'Apache-2.0');
  t.truthy(image.Config.Healthcheck);
  const inside = (command: string) => docker('run', '--rm', '--network=none', 'toka:test', 'sh', '-c', command);
  t.is(await inside('command -v npm npx corepack yarn curl wget gcc make; true'), '');
  t.is(await inside('find / -xdev -perm /6000 -type f 2>/dev/null; true'), '');
  t.is(
    await inside('ls -d /app/node_modules/typescript /app/node_modules/ava /app/test /app/.env 2>/dev/null; true'),
    '',
  );
  const names = JSON.parse(await inside('cat sbom.json')).components.map(({ name }: { name: string }) => name);
  t.true(['koa', 'nats', 'better-sqlite3'].every((name) => names.includes(name)));
});

stackTest('each service is given every setting that it has, and nothing of the others', async (t) => {
  const fixed = [
    'PORT',
    'LLM_PORT',
    'MANAGEMENT_PORT',
    'METRICS_PORT',
    'METRICS_HOST',
    'INSTANCE',
    'CONFIG_FILE',
    'MODELS_FILE',
  ];
  const elsewhere = ['NATS_USER', 'NATS_PASSWORD', 'TLS_CERT_FILE', 'TLS_KEY_FILE'];
  for (const service of ours) {
    const { Config } = await import(`../../services/${service}/config.ts`);
    const given = Object.keys(opened().config.services[service]?.environment ?? {});
    const known = Object.keys(Config.shape);
    t.deepEqual(
      known.filter((name) => !given.includes(name) && !fixed.includes(name) && !elsewhere.includes(name)),
      [],
      `${service} is not given`,
    );
    const secrets = given.filter((name) => /SECRET|KEY|PASSWORD/.test(name) && !/^NATS_PASSWORD/.test(name));
    t.deepEqual(
      secrets.filter((name) => !known.includes(name.replace(/_FILE$/, ''))),
      [],
      service,
    );
  }
});

stackTest('up: every container becomes healthy, and the shipped agents hand in what they should', async (t) => {
  t.timeout(300_000);
  const stack = opened();
  const startedMs = Date.now();
  await stack.up();
  t.log(`healthy after ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
  const done = await eventually(async () => {
    const { items } = (await (await fetch(`${stack.management}/agents/status`)).json()) as {
      items: { id: string; state: string }[];
    };
    return items.length === 3 && items.every(({ state }) => state === 'done') && items;
  }, 90_000);
  t.is(done.length, 3);
  const files = await stack.shell('agent-runner', 'cd /data/deliverables && find . -type f');
  t.is(files.split('\n').length, 4, files);
  t.true((await stack.shell('agent-runner', 'cat /data/deliverables/cartographer/*/*')).length > 200);
  const metrics = await (await fetch(`${stack.api}/metrics`)).text();
  t.regex(metrics, /^llm_rate_limit_remaining\{.*\} \d+$/m);
  t.is((await fetch(`${stack.api}/health`)).status, 200);
  t.is((await fetch(`${stack.api}/agents`)).status, 401);
});

stackTest('every container is held down: user, capabilities, files, processes, memory, log, ports', async (t) => {
  const stack = opened();
  const writable: Record<string, string[]> = {
    'agent-runner': ['/data/deliverables', '/data/sandboxes', '/data/workspaces'],
    store: ['/data/store'],
    // It fills up the log from the archive, and keeps beside it what only the log has.
    keeper: ['/data/store'],
    nats: ['/data/nats'],
    redis: ['/data'],
    prometheus: ['/prometheus'],
    grafana: ['/var/lib/grafana'],
  };
  const ports = ['8080/tcp', '9000/tcp', '9090/tcp', '3000/tcp'];
  for (const service of stack.services) {
    const [id = ''] = await stack.containers(service);
    const { Config, HostConfig, Mounts } = await inspect(id);
    t.regex(Config.User, /^[1-9]\d*(:\d+)?$/, service);
    t.true(HostConfig.ReadonlyRootfs, service);
    t.deepEqual(HostConfig.CapDrop, ['ALL'], service);
    t.falsy(HostConfig.CapAdd, service);
    t.true(HostConfig.SecurityOpt.includes('no-new-privileges:true'), service);
    t.true(HostConfig.PidsLimit > 0 && HostConfig.Memory > 0 && HostConfig.NanoCpus > 0, service);
    t.is(HostConfig.RestartPolicy.Name, 'unless-stopped', service);
    t.is(HostConfig.LogConfig.Type, 'json-file', service);
    t.truthy(HostConfig.LogConfig.Config['max-size'], service);
    const mounted = Mounts.filter(({ RW, Destination }) => RW && !Destination.startsWith('/run/secrets'));
    t.deepEqual(mounted.map(({ Destination }) => Destination).toSorted(), writable[service] ?? [], service);
    for (const [port, bindings] of Object.entries(HostConfig.PortBindings ?? {})) {
      t.true(ports.includes(port), `${service} publishes ${port}`);
      t.deepEqual(
        bindings.map(({ HostIp }) => HostIp),
        ['127.0.0.1'],
        service,
      );
    }
    const status = await stack.shell(service, 'cat /proc/1/status; id -u');
    t.regex(status, /CapEff:\s+0+\n/, service);
    t.regex(status, /NoNewPrivs:\s+1\n/, service);
    t.not(status.split('\n').at(-1), '0', service);
    const tried =
      'for d in / /etc /usr /usr/bin /app /app/config /var /opt /etc/toka /etc/prometheus; do touch $d/x 2>/dev/null && echo $d; done; true';
    t.is(await stack.shell(service, tried), '', `${service} can write there`);
  }
});

stackTest('no secret stands where it does not belong', async (t) => {
  const stack = opened();
  const environmentOf = async (service: string) => stack.shell(service, 'cat /proc/1/environ | tr "\\0" "\\n"');
  for (const service of ['scheduler', 'agent-runner', 'store', 'nats'])
    t.notRegex(
      await environmentOf(service),
      /^(JWT_SECRET|REDIS_PASSWORD|ANTHROPIC_API_KEY|GRAFANA_PASSWORD)=./m,
      service,
    );
  t.notRegex(await environmentOf('llm-proxy'), /^JWT_SECRET=./m);
  t.notRegex(await environmentOf('gateway'), /^(REDIS_PASSWORD|ANTHROPIC_API_KEY)=./m);
  const password = await stack.shell('nats', 'cat /data/nats-auth/password');
  t.regex(password, /^[0-9a-f]{48}$/, 'made, for none was set');
  const logs = await stack.compose('logs', '--no-color');
  t.false(logs.includes(password));
  const held = await Promise.all(ours.map((service) => stack.shell(service, 'cat /data/nats-user/password')));
  t.is(new Set([password, ...held]).size, ours.length + 1, 'each service has a password of its own');
  for (const service of ours)
    t.is(await stack.shell(service, 'ls -d /data/nats-auth/* /data/nats-users/*/* 2>/dev/null; true'), '', service);
  t.false(held.some((each) => logs.includes(each)));
});

stackTest('each container reaches what it needs, and no more', async (t) => {
  t.timeout(120_000);
  const stack = opened();
  await using outside = await startOutside();
  const [redis = ''] = await stack.containers('redis');
  const address = await docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', redis);
  const internet = `${new URL(outside.url).hostname}/80`;
  const reaches = async (service: string, place: string) =>
    (await stack.shell(service, `timeout 2 bash -c '</dev/tcp/${place}' 2>/dev/null && echo yes || echo no`)) === 'yes';
  const fetches = async (service: string, url: string) =>
    (await stack.shell(service, `wget -T 2 -qO- ${url} >/dev/null 2>&1 && echo yes || echo no`)) === 'yes';

  t.true(await reaches('llm-proxy', internet), 'the control: a provider can be reached');
  t.true(await reaches('llm-proxy', 'redis/6379'));
  t.true(await reaches('agent-runner', internet), 'for hosts that an agent may reach');
  t.false(await reaches('agent-runner', 'redis/6379'));
  const others = ['gateway', 'scheduler', 'store', 'sandbox'];
  await Promise.all([
    ...others.flatMap((service) =>
      [internet, 'redis/6379', `${address}/6379`].map(async (place) =>
        t.false(await reaches(service, place), `${service} reaches ${place}`),
      ),
    ),
    ...['nats', 'redis', 'prometheus'].map(async (service) =>
      t.false(await fetches(service, outside.url), `${service} reaches the internet`),
    ),
    ...ours.map(async (service) => t.true(await reaches(service, 'nats/4222'), `${service} does not reach NATS`)),
  ]);
});

/** Agents with two objectives each, at work at once. */
async function putToWork(stack: Stack, prefix: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index + 1}`);
  for (const name of names) {
    const objective = { description: 'List the files.', deliverable: 'files.md', validation: 'It is not empty.' };
    const agent = {
      name,
      version: '1.0.0',
      domain: 'tests',
      priority: 'medium',
      workstream: 'stack',
      branch: 'main',
      repository: '.',
      capabilities: { primary: ['filesystem-read'], secondary: [] },
      objectives: [objective, { ...objective, deliverable: 'again.md' }],
    };
    const answer = await stack.ask<{ code?: string }>('/agents', agent);
    if (answer.code) throw new Error(JSON.stringify(answer));
  }
  return names;
}

type RunView = { agentId: string; status: string; runner: string | null };
const runsOf = async (stack: Stack, names: string[]): Promise<RunView[]> => {
  const { items } = await stack.ask<{ items: RunView[] }>('/runs?limit=200');
  return items.filter(({ agentId }) => names.includes(agentId));
};
const allWell = (stack: Stack, names: string[], timeoutMs: number) =>
  eventually(async () => {
    const runs = await runsOf(stack, names);
    if (runs.some(({ status }) => status === 'failed')) throw new Error(JSON.stringify(runs));
    return runs.length === names.length * 2 && runs.every(({ status }) => status === 'completed') && runs;
  }, timeoutMs);

stackTest('three runners share the work, and Prometheus finds each', async (t) => {
  t.timeout(240_000);
  const stack = opened();
  await stack.up('--scale', 'agent-runner=3', '--no-recreate');
  const names = await putToWork(stack, 'sharer', 9);
  const runs = await allWell(stack, names, 120_000);
  t.is(new Set(runs.map(({ runner }) => runner)).size, 3);
  const up = await eventually(async () => {
    const found = await stack.query('up{job="agent-runner"} == 1');
    return found.length === 3 && found;
  });
  t.is(up.length, 3);
  t.is((await stack.query('up == 1')).length, 8, 'five services, two more runners, Prometheus');
});

stackTest('a runner is killed, NATS restarted, Redis stopped for a while: all ends well', async (t) => {
  t.timeout(300_000);
  const stack = opened();
  const names = await putToWork(stack, 'survivor', 8);
  await eventually(async () => (await runsOf(stack, names)).some(({ status }) => status === 'running'));
  const [runner = ''] = await stack.containers('agent-runner');
  const { State } = await inspect(runner);
  process.kill(State.Pid, 'SIGKILL'); // as a crash would, so that the restart policy applies
  await stack.compose('restart', 'nats');
  await stack.compose('stop', 'redis');
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  await stack.compose('start', 'redis');
  const runs = await allWell(stack, names, 200_000);
  t.is(runs.length, 16);
  await eventually(async () => (await inspect(runner)).State.Status === 'running');
  t.true((await stack.ask<{ intact: boolean }>('/audit/verify')).intact);
});

stackTest('runners that are stopped hand back what they are at', async (t) => {
  t.timeout(240_000);
  const stack = opened();
  const names = await putToWork(stack, 'handed', 6);
  await eventually(async () => (await runsOf(stack, names)).some(({ status }) => status === 'running'));
  const startedMs = Date.now();
  await stack.up('--scale', 'agent-runner=1', '--no-recreate');
  t.true(Date.now() - startedMs < 60_000, 'the two that go drain within their grace');
  t.is((await allWell(stack, names, 150_000)).length, 12);
});

stackTest('down and up keeps everything', async (t) => {
  t.timeout(240_000);
  const stack = opened();
  const before = await stack.ask<{ log: { seq: number } }>('/status');
  const runs = (await stack.ask<{ items: unknown[] }>('/runs?limit=200')).items.length;
  const password = await stack.shell('nats', 'cat /data/nats-auth/password');
  const keys = Number((await stack.query('max(toka_redis_keys)'))[0]?.value[1]);
  t.true(keys > 0);
  await stack.compose('down');
  await stack.up();
  const after = await stack.ask<{ log: { seq: number }; archive: { seq: number } }>('/status');
  t.true(after.log.seq > before.log.seq);
  t.is((await stack.ask<{ items: unknown[] }>('/runs?limit=200')).items.length, runs);
  t.is(await stack.shell('nats', 'cat /data/nats-auth/password'), password);
  t.true((await stack.ask<{ intact: boolean }>('/audit/verify')).intact);
  await eventually(async () => Number((await stack.query('max(toka_redis_keys)'))[0]?.value[1]) >= keys);
  t.true(
    (await stack.query('toka_archive_sequence offset 1m or max_over_time(toka_archive_sequence[30m])')).length > 0,
  );
});

stackTest('every expression of every panel and rule gives data', async (t) => {
  t.timeout(180_000);
  const stack = opened();
  // The stack has just come back: a runner's numbers begin with its first run.
  await putToWork(stack, 'last', 1);
  for (const metric of [
    'toka_runs_active',
    'toka_agent_runs_active{agent="last-1"}',
    'toka_agent_memory_peak_bytes{agent="last-1"}',
  ])
    await eventually(async () => (await stack.query(metric)).length > 0);
  const { data } = (await (await fetch(`${stack.prometheus}/api/v1/rules`)).json()) as {
    data: { groups: { rules: { type: string; name: string; query: string; health: string; lastError?: string }[] }[] };
  };
  const rules = data.groups.flatMap((group) => group.rules);
  t.true(rules.length > 20);
  const names = new Set(
    ((await (await fetch(`${stack.prometheus}/api/v1/label/__name__/values`)).json()) as { data: string[] }).data,
  );
  const empty: string[] = [];
  for (const { type, name, query, health, lastError } of rules) {
    t.is(health, 'ok', `${name}: ${lastError}`);
    if (type === 'recording' && (await stack.query(query)).length === 0) empty.push(`${name}: ${query}`);
    // An alert gives nothing while all is well; what it looks at must be there.
    for (const [metric] of query.matchAll(/\b(?:toka|llm|gen_ai_client|nodejs|process)_[a-z0-9_]+\b/g))
      if (!names.has(metric)) empty.push(`${name}: ${metric}`);
  }
  let panels = 0;
  for (const dashboard of ['orchestration', 'agent', 'llm', 'system']) {
    const text = await readFile(`grafana/dashboards/${dashboard}.json`, 'utf8');
    for (const { title, targets } of panelsOf(JSON.parse(text))) {
      panels += 1;
      for (const { expr } of targets) {
        const asked = expr
          .replaceAll('$__rate_interval', '1m')
          .replaceAll('$__range', '30m')
          .replaceAll(/\$\{?(agent|provider|model)\}?(:regex)?/g, '.*');
        // The demo provider gives its answers whole: there is no first piece of one.
        const isKnownEmpty = asked.includes('time_to_first_chunk');
        if (!isKnownEmpty && (await stack.query(asked)).length === 0) empty.push(`${dashboard}, "${title}": ${asked}`);
      }
    }
  }
  t.log(`${rules.length} rules, ${panels} panels`);
  t.deepEqual(empty, []);
});

type Panel = { type: string; title: string; targets?: { expr: string }[]; panels?: Panel[] };
const panelsOf = ({ panels = [] }: { panels?: Panel[] }): { title: string; targets: { expr: string }[] }[] =>
  panels.flatMap((panel) => [
    ...(panel.type === 'row' ? [] : [{ title: panel.title, targets: panel.targets ?? [] }]),
    ...panelsOf(panel.panels ? { panels: panel.panels } : {}),
  ]);

stackTest('the rules: checked and tested by promtool', async (t) => {
  const image = opened().config.services.prometheus?.image ?? '';
  const mounted = ['-v', `${process.cwd()}/prometheus:/etc/prometheus:ro`, '-w', '/etc/prometheus'];
  const inImage = ['run', '--rm', '--network=none', ...mounted, '--entrypoint', 'promtool', image];
  const isInImage = await docker(...inImage, '--version').catch(() => false);
  const promtool = async (...args: string[]) =>
    isInImage ? docker(...inImage, ...args) : (await run('promtool', args, { cwd: 'prometheus' })).stdout;
  t.regex(await promtool('check', 'config', 'prometheus.yml'), /SUCCESS/);
  const tests = (await readdir('prometheus/tests')).map((name) => `tests/${name}`);
  t.true(tests.length > 0);
  t.regex(await promtool('test', 'rules', ...tests), /SUCCESS/);
});
