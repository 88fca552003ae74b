import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { freePort } from '#shared/dev/launch/ports.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { started, step } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { secret, startGateway, token } from '#test/helpers/gateway.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { toka } from '#test/helpers/toka.ts';
import { fill } from '#test/helpers/two-workstreams.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const at = ({ url }: Gateway, more: Record<string, string> = {}) => ({
  environment: { TOKA_URL: url, JWT_SECRET: secret, ...more },
});

test('a file of agents is applied: created, left alone, replaced, each after those that it waits for', async (t) => {
  await using gateway = await startGateway();
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'agents.json');
  const write = (domain: string) =>
    writeFileSync(
      file,
      JSON.stringify([agentInput({ name: 'b', domain, depends_on: ['a'] }), agentInput({ name: 'a' })]),
    );
  write('docs');
  const apply = () => toka(['agents', 'apply', '-f', file], at(gateway));
  t.deepEqual(await apply(), { code: 0, out: 'a\tcreated\nb\tcreated\n', err: '' });
  t.is((await apply()).out, 'a\tunchanged\nb\tunchanged\n');
  write('other');
  t.is((await apply()).out, 'a\tunchanged\nb\treplaced\n');

  const shown = await toka(['agents', 'show', 'b', '--json'], at(gateway));
  const { spec } = JSON.parse(shown.out);
  t.is(spec.domain, 'other');
  const again = await toka(['agents', 'apply', '-f', '-'], { ...at(gateway), input: JSON.stringify(spec) });
  t.is(again.out, 'b\tunchanged\n');

  t.is((await toka(['agents', 'pause', 'a', '--reason', 'for now'], at(gateway))).out.split('\t')[1], 'paused');
  t.deepEqual((await toka(['agents', 'ls', '--status', 'paused'], at(gateway))).out.split('\t').slice(0, 2), [
    'a',
    'paused',
  ]);
  t.is((await toka(['agents', 'resume', 'a'], at(gateway))).code, 0);
  t.is((await toka(['agents', 'rm', 'b', 'a'], at(gateway))).err, 'removed b\nremoved a\n');
  t.is((await toka(['agents', 'ls', '--json'], at(gateway))).out, '[]\n');
});

test('a mistake in a file is told with its line, and nothing is applied', async (t) => {
  await using gateway = await startGateway();
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'agents.toml');
  writeFileSync(file, '[[agents]]\nname = "scout"\npriority = "urgent"\n');
  const { code, err } = await toka(['agents', 'apply', '-f', file], at(gateway));
  t.is(code, 1);
  t.regex(err, /agents\.toml:3: agents\[1\]\.priority is "urgent"; it takes critical, high, medium, low/);
});

test('a run is forked, and shows from where', async (t) => {
  await using gateway = await startGateway();
  await gateway.call('POST', '/agents', agentInput());
  const [id = ''] = (await toka(['runs', 'start', 'scout', '--input', 'look around'], at(gateway))).out.split('\t');
  await gateway.bus.append(newEvent(started, `run/${id}`, writer));
  const forked = await toka(['runs', 'fork', id, '--message', 'look up', '--model', 'other', '--json'], at(gateway));
  t.is(forked.code, 0, forked.err);
  const run = JSON.parse(forked.out);
  t.like(run, { status: 'queued', forkOf: { runId: id } });
  t.regex((await toka(['runs', 'show', run.id], at(gateway))).out, new RegExp(`^fork of\\t${id}, event \\d+$`, 'm'));
  const { messages } = (await gateway.call('GET', `/runs/${run.id}/state`)).json;
  t.deepEqual(
    messages.map(({ text }: { text: string }) => text),
    ['look around', 'look up'],
  );
  t.is((await toka(['runs', 'fork', id, '--at', '1'], at(gateway))).code, 3);
});

test('webhooks are made, shown, tried, enabled and deleted', async (t) => {
  await using receiver = await startReceiver();
  await using gateway = await startGateway({
    WEBHOOK_EXEMPT: `127.0.0.1:${receiver.port}`,
    WEBHOOK_PLAIN_HTTP: 'true',
  });
  const made = await toka(['webhooks', 'create', receiver.url, '--type', 'toka.run.*'], at(gateway));
  t.regex(made.out, /^whsec_\S+\n$/);
  const id = /whk_\w+/.exec(made.err)?.[0] ?? '';
  t.deepEqual((await toka(['webhooks', 'ls'], at(gateway))).out.split('\t').slice(0, 4), [
    ...[id, receiver.url, 'active', 'toka.run.*'],
  ]);
  const tried = await toka(['webhooks', 'test', id], at(gateway));
  t.is(tried.code, 0, tried.err);
  t.deepEqual(receiver.types(), ['toka.webhook.test.v1']);
  t.is((await toka(['webhooks', 'enable', id], at(gateway))).code, 0);
  t.regex((await toka(['webhooks', 'show', id], at(gateway))).out, /^state\tactive$/m);
  t.is((await toka(['webhooks', 'rm', id], at(gateway))).err, `deleted ${id}\n`);
  t.is((await toka(['webhooks', 'show', id], at(gateway))).code, 3);
  t.is((await toka(['webhooks', 'create', 'http://10.0.0.1/x'], at(gateway))).code, 1);
});

test('runs are started, listed, shown, followed and cancelled', async (t) => {
  await using gateway = await startGateway();
  await gateway.call('POST', '/agents', agentInput());
  const [id = ''] = (await toka(['runs', 'start', 'scout', '--input', 'look around'], at(gateway))).out.split('\t');
  t.regex(id, /^run_/);
  t.deepEqual((await toka(['runs', 'ls', '--agent', 'scout'], at(gateway))).out.split('\t').slice(0, 4), [
    id,
    'scout',
    'ad-hoc',
    'queued',
  ]);
  t.regex((await toka(['runs', 'show', id], at(gateway))).out, /^description\tlook around$/m);
  for (const draft of [started, step('Hm\x1b[31m', 'read_file')])
    await gateway.bus.append(newEvent(draft, `run/${id}`, writer));
  const following = toka(['runs', 'logs', '-f', id], at(gateway));
  const cancelled = await toka(['runs', 'cancel', id, '--reason', 'enough'], at(gateway));
  t.is(cancelled.out.split('\t')[3], 'cancelled');
  const { code, out } = await following;
  t.is(code, 0, 'it ends with the run');
  t.regex(out, /scout\/ad-hoc {2}queued: look around\n.* started\n.* read_file\n.* cancelled: enough\n$/);
  const lines = (await toka(['runs', 'logs', id, '--json'], at(gateway))).out.trim().split('\n');
  t.deepEqual(
    lines.map((line) => JSON.parse(line).type.split('.')[2]),
    ['queued', 'started', 'step-completed', 'cancelled'],
  );
  t.is((await toka(['runs', 'diff', id], at(gateway))).code, 3, 'it has changed nothing');
});

test('events are followed as lines of JSON, filtered', async (t) => {
  await using gateway = await startGateway();
  await gateway.call('POST', '/agents', agentInput());
  await gateway.call('POST', '/agents', agentInput({ name: 'other' }));
  await gateway.call('POST', '/agents/scout/pause', {});
  const { out } = await toka(['events', 'tail', '--since', '0', '--agent', 'scout', '--json'], {
    ...at(gateway),
    until: (text) => text.split('\n').length > 2,
  });
  t.deepEqual(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).type),
    ['toka.agent.registered.v1', 'toka.agent.paused.v1'],
  );
});

test('a list says that what it shows of a question is a part, and all of it is shown', async (t) => {
  await using gateway = await startGateway();
  const { run } = await fill(gateway, 'main', 'scout', 'mark');
  const id = newId('apr');
  const question = `May "scout" call shell once, with exactly these arguments?\n{\n  "command": "ls${' '.repeat(2_000)}; rm"\n}`;
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  const data = { id, callId: 'c2', kind: 'tool' as const, tool: 'shell', capability: null, question, schema: null };
  const draft = { type: 'toka.run.approval-requested.v1' as const, data: { ...data, expiresAt } };
  await gateway.bus.append(newEvent(draft, `run/${run}`, writer));
  await eventually(async () => (await gateway.call('GET', `/approvals/${id}`)).status === 200);
  const { out } = await toka(['approvals', 'ls'], at(gateway));
  const shown = out.split('\n').find((line) => line.startsWith(id)) ?? '';
  t.true(shown.includes(`… (${question.length} characters: approvals show)`), shown);
  t.true((await toka(['approvals', 'show', id], at(gateway))).out.endsWith(`\n\n${question}\n`));
  t.is(JSON.parse((await toka(['approvals', 'show', id, '--json'], at(gateway))).out).question, question);
  t.is((await toka(['approvals', 'show', newId('apr')], at(gateway))).code, 3);
});

test('questions are answered, keys minted and revoked, and a secret is printed only where it is asked for', async (t) => {
  await using gateway = await startGateway();
  const { approval } = await fill(gateway, 'main', 'scout', 'mark');
  t.is((await toka(['approvals', 'ls'], at(gateway))).out.split('\t')[0], approval);
  t.regex((await toka(['approvals', 'answer', approval, 'yes'], at(gateway))).out, /\tanswered by user:toka$/m);
  t.is((await toka(['approvals', 'ls'], at(gateway))).out, '');
  t.is((await toka(['approvals', 'deny', approval], at(gateway))).code, 1, 'it was decided');

  const made = await toka(
    ['keys', 'create', 'ci', '--model', 'gpt-*', '--model', 'demo', '--budget', '5/day'],
    at(gateway),
  );
  t.regex(made.out, /^toka_\w[\w-]+\n$/);
  const [id = ''] = /key_\w+/.exec(made.err) ?? [];
  const listed = await toka(['keys', 'ls'], at(gateway));
  t.regex(listed.out, new RegExp(`^${id}\\tci\\tactive\\tgpt-\\*, demo\\t\\t\\$5 a day`));
  t.false(listed.out.includes(made.out.trim()));
  t.is((await toka(['keys', 'revoke', id], at(gateway))).code, 0);
  t.regex((await toka(['usage', '--by', 'model'], at(gateway))).out, /^mark-model\t1\t10\t5\t\$0\.5000\t0$/m);
});

test('it ends with a number that says why: 2 wrong words, 3 nothing there, 4 no leave, 5 nobody there', async (t) => {
  await using gateway = await startGateway();
  const weak = at(gateway, { TOKA_TOKEN: await token('runs:read') });
  const cases: [string[], number, RegExp, Parameters<typeof toka>[1]?][] = [
    [['agents', 'lst'], 2, /unknown command/],
    [['runs', 'start', 'scout'], 2, /--input/],
    [['runs', 'ls', '--limit', 'x'], 2, /number from 1/],
    [['runs', 'ls', '--status', 'odd'], 1, /status is "odd"; it takes queued/],
    [['agents', 'show', 'nobody'], 3, /there is no agent "nobody"/],
    [['agents', 'ls'], 4, /agents:read/, weak],
    [['agents', 'ls'], 4, /JWT_SECRET/, { environment: { TOKA_URL: gateway.url } }],
    [['agents', 'ls', '--url', 'http://127.0.0.1:9'], 5, /nobody answers/],
    [['agents', 'ls', '--url', 'localhost'], 1, /it takes one such as http:\/\/localhost:8080/],
    [['status'], 1, /^$/],
    [['up'], 5, /Docker is not installed here\. Without Docker, npm start/, { environment: { PATH: '/nowhere' } }],
    [['--help'], 0, /^$/],
  ];
  await Promise.all(
    cases.map(async ([args, code, err, options]) => {
      const told = await toka(args, options ?? at(gateway));
      t.is(told.code, code, `${args.join(' ')}: ${told.err}`);
      t.regex(told.err, err);
      t.false((told.out + told.err).includes(secret));
    }),
  );
});

test('files of configuration are checked: every mistake with its line and its fix', async (t) => {
  await using folder = await temporaryFolder();
  const models = join(folder.path, 'mine.toml');
  writeFileSync(models, '[aliases]\nfast = "gpt-x"\n\n[[budgets]]\nby = "model"\nmatch = "*"\nusd = 5\nper = "week"\n');
  const good = await toka(['config', 'check', 'config/agents.toml', 'config/models.toml']);
  t.is(good.code, 0, good.err);
  const { code, out } = await toka(['config', 'check', models]);
  t.is(code, 1);
  t.is(out, `${models}:8\tbudgets[1].per\tis "week"; it takes day, month\n`);
  const agents = join(folder.path, 'agents.toml');
  writeFileSync(agents, '[[agents]]\nname = "A"\n[orchestration]\nmax_agents = 3\n');
  const both = JSON.parse((await toka(['config', 'check', agents, models, '--json'])).out);
  t.true(both.length > 5);
  t.like(both[0], { file: agents, line: 4, field: 'orchestration.max_agents' });
  t.is((await toka(['config', 'check', 'nowhere.toml'])).code, 3);
});

test('the doctor says what is wrong with a set-up and how to mend it', async (t) => {
  await using folder = await temporaryFolder();
  const agents = join(folder.path, 'agents.toml');
  writeFileSync(agents, '[orchestration]\nmax_concurent_agents = 3\n');
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const ill = await toka(['doctor', '--url', nobody], {
    environment: { JWT_SECRET: 'short', CONFIG_FILE: agents },
  });
  t.is(ill.code, 1);
  t.regex(ill.out, /^!! {2}settings: JWT_SECRET got a value: must have at least 32 characters/m);
  t.regex(
    ill.out,
    /^!! {2}configuration: .*agents\.toml:2: orchestration\.max_concurent_agents is not a known field; did you mean "max_concurrent_agents"\?/m,
  );
  t.true(ill.out.includes(`!!  ${nobody}: nobody answers on ${nobody}: `), ill.out);
  await using gateway = await startGateway();
  const partly = await toka(['doctor', '--json'], at(gateway));
  const findings: { what: string; fix?: string }[] = JSON.parse(partly.out);
  t.deepEqual(
    findings.filter(({ fix }) => fix?.startsWith('no instance')).map(({ what }) => what),
    ['scheduler', 'agent-runner', 'llm-proxy'],
  );
  const stranger = await toka(['doctor'], at(gateway, { JWT_SECRET: 'another-secret-that-is-long-enough-too' }));
  t.regex(stranger.out, /JWT_SECRET the one here\?/);
});

test('bash completes commands, options and choices', async (t) => {
  const { out } = await toka(['completion', 'bash']);
  const complete = (...words: string[]) =>
    execFileSync(
      'bash',
      [
        '-c',
        `${out}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _toka; echo "\${COMPREPLY[*]}"`,
        'bash',
        'toka',
        ...words,
      ],
      { encoding: 'utf8' },
    ).trim();
  t.is(complete('ag'), 'agents');
  t.is(complete('runs', 'sh'), 'show');
  t.is(complete('--url', 'http://x', 'runs', 'ls', '--st'), '--status');
  t.true(complete('completion', '').startsWith('bash zsh'));
  t.regex((await toka(['completion', 'zsh'])).out, /^autoload -Uz bashcompinit && bashcompinit\n_toka\(\)/);
  t.is((await toka(['completion', 'fish'])).code, 2);
});
