import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { startOutside } from '#test/helpers/outside.ts';
import type { Stack } from '#test/helpers/stack.ts';
import { docker, openStack, wanted } from '#test/helpers/stack.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

// compose/tls.yaml, cluster.yaml, nats-port.yaml, llm-port.yaml, webhooks.yaml, each on a stack that works off the shipped agents.

const stackTest = wanted ? test.serial : test.serial.skip;
const run = promisify(execFile);
const ours = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'];

test.before(async (t) => {
  if (!wanted) return;
  t.timeout(600_000);
  await using stack = await openStack();
  await stack.compose('build', 'check-settings');
});

/** What a service in the stack's network gets from the management API. */
const statesIn = async (stack: Stack, url: string): Promise<string[]> => {
  const program = `fetch('${url}/agents/status').then((r) => r.text()).then((text) => console.log(text))`;
  const text = await stack.compose('exec', '-T', 'gateway', 'node', '-e', program);
  return JSON.parse(text).items.map(({ state }: { state: string }) => state);
};
const allDone = (stack: Stack, url: string) =>
  eventually(async () => {
    const states = await statesIn(stack, url);
    return states.length === 3 && states.every((state) => state === 'done');
  }, 90_000);

/** An authority and certificates, as the README has them made. */
async function makeCertificates() {
  const folder = await temporaryFolder();
  const certificates = join(folder.path, 'certificates');
  await run('chmod', ['755', folder.path]);
  await run('compose/certificates.sh', ['toka.test'], {
    env: { PATH: process.env.PATH, CERTIFICATES_DIR: certificates },
  });
  return { certificates, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

stackTest('tls.yaml: the APIs, NATS and Redis speak TLS and nothing else', async (t) => {
  t.timeout(240_000);
  await using made = await makeCertificates();
  const { certificates } = made;
  await using stack = await openStack({ overlays: ['compose/tls.yaml'], settings: { CERTIFICATES_DIR: certificates } });
  await stack.up(...ours);
  await allDone(stack, 'https://localhost:9000');

  const ca = await readFile(join(certificates, 'ca.crt'));
  const get = (options: object) =>
    new Promise<number>((resolve, reject) => {
      request(`${stack.api}/health`, options, (response) => resolve(response.statusCode ?? 0))
        .on('error', reject)
        .end();
    });
  t.is(await get({ ca }), 200);
  await t.throwsAsync(get({}), { message: /self-signed|unable to (get|verify)/ }, 'nobody else vouches for it');
  await t.throwsAsync(get({ ca, maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }));
  await t.throwsAsync(fetch(stack.api.replace('https', 'http')), undefined, 'no plain HTTP');
  const greeting = await stack.shell(
    'store',
    "bash -c 'exec 3<>/dev/tcp/nats/4222; read -r -t 2 line <&3; echo $line'",
  );
  t.regex(greeting, /"tls_required":true/);
  const plain = await stack.shell('redis', 'redis-cli ping 2>&1 || true');
  t.notRegex(plain, /PONG|NOAUTH/);
});

stackTest(
  'cluster.yaml with TLS: three NATS nodes, two of each service; one of each is killed, and work goes on',
  async (t) => {
    t.timeout(300_000);
    await using made = await makeCertificates();
    await using stack = await openStack({
      overlays: ['cluster', 'tls', 'cluster-tls'].map((name) => `compose/${name}.yaml`),
      settings: { CERTIFICATES_DIR: made.certificates },
    });
    const services = [...ours, 'store-2', 'nats', 'nats-2', 'nats-3'];
    if (stack.missing.includes('balancer')) t.log('LEFT OUT: the balancer, for its image cannot be had here');
    else services.push('balancer');
    await stack.up(...services);
    for (const service of ['gateway', 'scheduler', 'llm-proxy'])
      t.is((await stack.containers(service)).length, 2, service);
    await allDone(stack, 'https://localhost:9000');
    const streams = await stack.shell('nats', "wget -qO- 'http://127.0.0.1:8222/jsz?streams=true&config=true'");
    t.is(
      streams.match(/"num_replicas": 3/g)?.length,
      8,
      'the log, its state, the queue, the artifacts, the answers of a day, the kept states, the leases, the positions',
    );

    for (const service of ['scheduler', 'llm-proxy', 'store', 'nats-2'])
      await docker('kill', (await stack.containers(service))[0] ?? '');
    const input = { input: 'What is this repository about?' };
    const program = `
    const token = require('node:child_process').execFileSync('node', ['shared/dev/toka.ts', 'token']).toString().trim();
    const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/json' };
    const started = await fetch('https://localhost:8080/agents/cartographer/runs', { method: 'POST', headers, body: '${JSON.stringify(input)}' });
    const { id } = await started.json();
    for (let each = 0; each < 60; each++) {
      const run = await (await fetch('https://localhost:8080/runs/' + id, { headers })).json();
      if (run.status === 'completed' || run.status === 'failed') { console.log(run.status); process.exit(); }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }`;
    const wrapped = `(async () => {${program}})()`;
    t.is(await stack.compose('exec', '-T', 'gateway', 'node', '-e', wrapped), 'completed');
  },
);

stackTest('nats-port.yaml: NATS answers on this machine, to those who have the password', async (t) => {
  t.timeout(120_000);
  await using stack = await openStack({ overlays: ['compose/nats-port.yaml'], settings: { NATS_PORT: '0' } });
  await stack.up('nats');
  const [id = ''] = await stack.containers('nats');
  const [address = ''] = (await docker('port', id, '4222')).split('\n');
  t.regex(address, /^127\.0\.0\.1:\d+$/);
  const { connect } = await import('nats');
  await t.throwsAsync(connect({ servers: address, reconnect: false }), { message: /AUTHORIZATION/i });
  const pass = await stack.shell('nats', 'cat /data/nats-auth/password');
  const connection = await connect({ servers: address, user: 'toka', pass });
  t.true(connection.info?.jetstream);
  await connection.close();
});

stackTest(
  'llm-port.yaml: clients on this machine reach models with a key that the gateway made, and not without',
  async (t) => {
    t.timeout(180_000);
    await using stack = await openStack({ overlays: ['compose/llm-port.yaml'], settings: { LLM_PORT: '0' } });
    await stack.up('gateway', 'llm-proxy', 'store', 'scheduler');
    const [id = ''] = await stack.containers('llm-proxy');
    const [address = ''] = (await docker('port', id, '4000')).split('\n');
    t.regex(address, /^127\.0\.0\.1:\d+$/);
    const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hello?' }] });
    const call = (secret: string) =>
      fetch(`http://${address}/v1/chat/completions`, {
        ...{ method: 'POST', headers: { authorization: `Bearer ${secret}` }, body },
      });
    t.is((await call('toka_none')).status, 401);
    const { id: keyId, secret } = await stack.ask<{ id: string; secret: string }>('/llm/keys', { name: 'ci' });
    const answer = await eventually(async () => {
      const response = await call(secret);
      return response.status !== 401 && response;
    });
    t.is(answer.status, 200);
    t.like(await answer.json(), { object: 'chat.completion', choices: [{ finish_reason: 'stop' }] });
    const usage = await eventually(async () => {
      const { items } = await stack.ask<{ items: { key: string; calls: number }[] }>('/usage?by=key');
      return items.find(({ key }) => key === keyId);
    });
    t.is(usage.calls, 1);
  },
);

stackTest('webhooks.yaml: the gateway delivers to the outside, and still reaches no Redis', async (t) => {
  t.timeout(180_000);
  await using outside = await startOutside();
  const { hostname } = new URL(outside.url);
  const settings = { WEBHOOK_EXEMPT: `${hostname}:80`, WEBHOOK_PLAIN_HTTP: 'true' };
  await using stack = await openStack({ overlays: ['compose/webhooks.yaml'], settings });
  await stack.up('gateway', 'store', 'scheduler', 'redis');
  const { id } = await stack.ask<{ id: string }>('/webhooks', { url: outside.url });
  t.like(await stack.ask(`/webhooks/${id}/test`, {}), { outcome: 'delivered', status: 200 });
  const webhook = await eventually(async () => {
    const { delivery } = await stack.ask<{ delivery: { failures: number } | null }>(`/webhooks/${id}`);
    await stack.ask('/agents/cartographer/pause', {});
    await stack.ask('/agents/cartographer/resume', {});
    return delivery;
  });
  t.is(webhook.failures, 0, 'what happens is delivered, too');
  const [redis = ''] = await stack.containers('redis');
  const address = await docker('inspect', '-f', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', redis);
  const reached = await stack.shell(
    'gateway',
    `timeout 2 bash -c '</dev/tcp/${address}/6379' 2>/dev/null && echo yes || echo no`,
  );
  t.is(reached, 'no');
});
