import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { SignJWT } from 'jose';
import type { AgentInput } from '#shared/contracts/agent.ts';
import { RepositoryRule } from '#shared/contracts/repository.ts';
import { areExemptions, exemptionsFor } from '#shared/egress/rules.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { secret, startGateway } from '#test/helpers/gateway.ts';
import { git, makeRepository, sources } from '#test/helpers/repositories.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { openRunner, startOutside } from '#test/helpers/toolbox.ts';
import { fetchRepository, returnBranch } from '../../services/agent-runner/repository.ts';

// What a workstream's agents must not get of another one's: repositories, branches, MCP servers with their secrets, hosts inside.

const limitedTo = async (...workstreams: string[]) => ({
  authorization: `Bearer ${await new SignJWT({ scope: 'admin', workstreams })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('eve')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret))}`,
});

const file = `
[[mcp_servers]]
name = "vault"
url = "https://mcp.example.com/mcp"
secrets = { Authorization = "VAULT_TOKEN" }
workstreams = ["alpha"]
[[mcp_servers]]
name = "open"
url = "https://open.example.com/mcp"
[[repositories]]
path = "/srv/shared"
branches = { alpha = ["main", "alpha/*"], beta = ["beta/*"] }
[[repositories]]
path = "/srv/private"
workstreams = ["alpha"]
[[repositories]]
path = "https://git.example.com/team"
workstreams = ["*"]
[[repositories]]
path = "https://git.example.com/team/secret"
workstreams = ["alpha"]
`;

type Attempt = [what: string, agent: Partial<AgentInput>, field: string];
const beta = (repository: string, branch = 'beta/x') => ({ repository, branch });
const attempts: Attempt[] = [
  ["another workstream's branch", beta('/srv/shared', 'alpha/x'), 'branch'],
  ['a branch of everyone that is not its own', beta('/srv/shared', 'main'), 'branch'],
  ["another's repository", beta('/srv/private'), 'repository'],
  ["a folder in another's repository", beta('/srv/private/docs'), 'repository'],
  ['the way round to it', beta('/srv/shared/x/../../private'), 'repository'],
  ['the folder above it', beta('/srv'), 'repository'],
  ['a repository that nobody has given to anyone', beta('/srv/other'), 'repository'],
  ['a URL', beta('https://git.example.com/team/secret'), 'repository'],
  ['the same in capitals', beta('https://GIT.example.com/team/Secret.git'), 'repository'],
  ['the same by another scheme and port', beta('ssh://git@git.example.com:2222/team/secret/'), 'repository'],
  ['the same with a letter as its code', beta('https://git.example.com/team/%73ecret'), 'repository'],
  ['the same with a step', beta('https://git.example.com/team/x/../secret'), 'repository'],
  ['the same with a slash too many', beta('https://git.example.com/team//secret'), 'repository'],
  ["another's server", { capabilities: { primary: ['mcp:vault'] } }, 'capabilities.primary.0'],
  [
    'the same, once a person agrees',
    { capabilities: { secondary: ['shell', 'mcp:vault'] } },
    'capabilities.secondary.1',
  ],
  [
    'a server that there is not, to learn which there are',
    { capabilities: { primary: ['mcp:x'] } },
    'capabilities.primary.0',
  ],
  ["another's host inside", { network: { allow: ['example.com', 'db.lan:5432'] } }, 'network.allow.1'],
  ["another's address inside", { network: { allow: ['10.1.2.3'] } }, 'network.allow.0'],
];

test('no agent is made that asks for what is of another workstream: the field is named, and nothing of theirs', async (t) => {
  await using folder = await temporaryFolder();
  const CONFIG_FILE = join(folder.path, 'agents.toml');
  writeFileSync(CONFIG_FILE, file);
  await using gateway = await startGateway({
    CONFIG_FILE,
    EGRESS_EXEMPT: 'alpha=db.lan:5432, alpha=10.1.0.0/16, cache.lan:6379',
  });
  const headers = await limitedTo('beta');
  const agent = (more: Partial<AgentInput>) => agentInput({ workstream: 'beta', ...more });
  t.is((await gateway.call('POST', '/agents', agent({ name: 'own' }), headers)).status, 201);
  for (const [what, more, field] of attempts)
    for (const [method, path, name] of [
      ['POST', '/agents', 'spy'],
      ['PUT', '/agents/own', 'own'],
    ] as const) {
      const { status, json } = await gateway.call(method, path, agent({ ...more, name }), {
        ...headers,
        'if-match': '*',
      });
      t.is(status, 400, `${what}: ${JSON.stringify(json)}`);
      t.deepEqual(
        json.errors.map((problem: { field: string }) => problem.field),
        [field],
        what,
      );
      t.regex(json.errors[0].message, /the workstream( "beta"|'s)/, what);
      t.notRegex(JSON.stringify(json.errors), /alpha/, what);
    }
  const own: Partial<AgentInput>[] = [
    beta('/srv/shared'),
    beta('https://git.example.com/team/site', 'main'),
    { capabilities: { primary: ['mcp:open'] } },
    { network: { allow: ['cache.lan:6379', '10.2.0.1', 'db.lan:5433'] } },
  ];
  for (const [index, more] of own.entries()) {
    const { status, text } = await gateway.call('POST', '/agents', agent({ ...more, name: `own-${index}` }), headers);
    t.is(status, 201, text);
  }
  // Whoever is not limited makes agents in both, but none with what is not their workstream's.
  const alpha = {
    workstream: 'alpha',
    capabilities: { primary: ['mcp:vault', 'mcp:later'] },
    repository: '/srv/other',
  };
  t.is((await gateway.call('POST', '/agents', agentInput({ name: 'alpha', ...alpha }))).status, 201);
  t.is(
    (await gateway.call('POST', '/agents', agentInput({ name: 'mixed', ...alpha, workstream: 'beta' }))).status,
    400,
  );

  writeFileSync(CONFIG_FILE, `${file}\n[[repositorys]]\npath = "/srv/other"\n`);
  const unread = await gateway.call('POST', '/agents', agent({ name: 'late', ...beta('/srv/shared') }), headers);
  t.is(unread.status, 400, 'what cannot be read gives nothing to anyone');
  t.regex(unread.text, /\[\[repositories\]\] in config\/agents.toml cannot be read; mend it first/);
});

test('a runner looks again: a link, the folder above, a part of git, a name that git reads otherwise and the branch it stands on', async (t) => {
  await using folder = await temporaryFolder();
  const shared = join(folder.path, 'shared');
  makeRepository(shared);
  git(shared, 'branch', 'alpha/plan', 'feature/two');
  git(shared, 'branch', 'beta/mine', 'main');
  git(shared, 'config', 'branch.beta/mine.remote', '.');
  git(shared, 'config', 'branch.beta/mine.merge', 'refs/heads/alpha/plan');
  mkdirSync(join(shared, 'docs'));
  symlinkSync(shared, join(folder.path, 'link'));
  const rules = [
    { path: shared, branches: { alpha: ['*'], beta: ['beta/*'] } },
    { path: join(folder.path, 'link'), workstreams: ['beta'] },
  ].map((rule) => RepositoryRule.parse(rule));
  const from = (workstream: string) => ({ ...sources(folder.path), rules, workstream });
  const refused = async (repository: string, branch: string, message: RegExp) =>
    t.throwsAsync(fetchRepository({ repository, branch }, from('beta')), { code: 'invalid', message }, repository);

  t.is(
    (await fetchRepository({ repository: shared, branch: 'beta/mine' }, from('beta'))).commit,
    git(shared, 'rev-parse', 'main'),
  );
  await refused(shared, 'alpha/plan', /^branch: "alpha\/plan" is not the workstream's.*it takes beta\/\*/);
  await refused(shared, 'beta/mine@{upstream}', /no name that git gives to a branch/);
  await refused(shared, 'beta/new', /stands on one that is not for this workstream/);
  await refused(join(shared, 'docs'), 'beta/mine', /must be named by its top folder/);
  await refused(join(shared, '.git'), 'beta/mine', /is a part of git's own/);
  await refused(join(folder.path, 'link'), 'alpha/plan', /is not the workstream's/);
  await refused(folder.path, 'beta/mine', /is not for the workstream "beta"/);
  await t.throwsAsync(fetchRepository({ repository: shared, branch: 'main' }, from('gamma')), {
    code: 'invalid',
    message: /is not for the workstream "gamma"/,
  });
  await t.throwsAsync(
    fetchRepository({ repository: shared, branch: 'beta/mine' }, { ...from('beta'), rules: undefined }),
    { code: 'unavailable', message: /nobody can tell whose it is/ },
  );
  const before = git(shared, 'for-each-ref');
  t.regex(
    await returnBranch({ repository: shared, branch: 'alpha/plan' }, from('beta'), Buffer.from('')),
    /is not the workstream's in this repository.*take it from the bundle/,
  );
  t.is(git(shared, 'for-each-ref'), before);
  t.truthy((await fetchRepository({ repository: shared, branch: 'alpha/new' }, from('alpha'))).commit);
});

test('an agent that was made before is offered no server of another workstream, and reaches no host that is opened to others', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { seen, authority } = await startOutside(stack);
  const CONFIG_FILE = join(stack.use(await temporaryFolder()).path, 'agents.toml');
  writeFileSync(
    CONFIG_FILE,
    `[[mcp_servers]]\nname = "vault"\nurl = "http://${authority}/mcp"\nsecrets = { Authorization = "TOKEN" }\nworkstreams = ["alpha"]\n`,
  );
  const { begin } = await openRunner(stack, { settings: { CONFIG_FILE, EGRESS_EXEMPT: `alpha=${authority}` } });
  const agent = {
    capabilities: { primary: ['network-access', 'mcp:vault', 'shell'] },
    network: { allow: [authority] },
  };
  await using spy = await begin({ ...agent, workstream: 'beta' });
  await spy.ask(['http_fetch', { url: `http://${authority}/by-tool` }]);
  await spy.ask(['shell', { command: `curl -s -m 5 http://${authority}/by-shell` }]);
  await spy.ask(['mcp__vault__read', {}]);
  t.regex(spy.result(), /There is no tool "mcp__vault__read" for you/);
  t.deepEqual(seen, []);
  await using own = await begin({ ...agent, workstream: 'alpha' });
  await own.ask(['http_fetch', { url: `http://${authority}/by-tool` }]);
  t.regex(own.result(), /the outside/);
  t.true(seen.includes('/by-tool'));
});

test('exemptions are for all, or for one workstream, and what cannot be read is no setting', (t) => {
  const setting = 'a.lan:1, alpha = b.lan:2,beta=10.0.0.0/8, alpha=[fd00::1]:443';
  t.deepEqual(exemptionsFor(setting, 'alpha'), ['a.lan:1', 'b.lan:2', '[fd00::1]:443']);
  t.deepEqual(exemptionsFor(setting, 'gamma'), ['a.lan:1']);
  t.deepEqual(exemptionsFor(undefined, 'alpha'), []);
  t.true(areExemptions(setting));
  for (const wrong of ['=a.lan:1', 'alpha=', 'alpha=x', 'a.lan']) t.false(areExemptions(wrong), wrong);
});
