import { readFileSync } from 'node:fs';
import test from 'ava';
import { parseAgentsFile, problemLine } from '#shared/agents-file.ts';

const minimal = `[[agents]]
name = "custom-agent"
version = "1.0.0"
domain = "custom-domain"
priority = "high"
workstream = "main"
branch = "feature/custom-work"

[agents.capabilities]
primary = ["capability1", "capability2"]
secondary = ["capability3"]

[[agents.objectives]]
description = "Implement a custom component"
deliverable = "A working component"
validation = "All checks pass"
`;

test('the minimal agent that users were shown loads unchanged', (t) => {
  const { agents, problems } = parseAgentsFile(minimal);
  t.deepEqual(problems, []);
  t.is(agents[0]?.name, 'custom-agent');
  t.deepEqual(agents[0]?.capabilities, { primary: ['capability1', 'capability2'], secondary: ['capability3'] });
});

test('every field of the file is read, and every section becomes a setting', (t) => {
  const { agents, settings, problems, fatal } = parseAgentsFile(`
[orchestration]
max_concurrent_agents = 4
agent_pool_size = 5
agent_spawn_timeout = 30
workstream_timeout = 600
[security]
sandbox_enabled = true
capability_validation = "warn"
[security.resource_limits]
max_memory = "256MB"
max_cpu = 0.25
timeout = 120
[llm]
provider = "demo"
model = "demo-1"
rate_limit = 50
timeout = 20
debug_mode = false
[caching]
context_cache_size = 1
context_cache_ttl = 2
response_cache_enabled = true
response_cache_size = 3
response_cache_ttl = 4
[monitoring]
metrics_enabled = true
tracing_enabled = false
log_level = "debug"
${minimal.replace('[agents.capabilities]', 'model = "m"\nschedule = "0 6 * * 1-5"\ninstructions = "Be brief."\ndepends_on = ["other"]\nrepository = "."\nlimits = { max_steps = 3, max_tokens = 4, max_cost_usd = 0.5, timeout = 60, memory = "1GB", cpu = 1 }\n[agents.capabilities]')}
id = "build"
depends_on = []
[[agents.tasks.default]]
description = "Tidy up"
priority = "low"
dependencies = ["other"]
${minimal.replace('custom-agent', 'other')}`);
  t.deepEqual(problems, []);
  t.false(fatal);
  t.is(Object.keys(settings).length, 22);
  t.is(settings.MAX_CONCURRENT_AGENTS, '4');
  t.is(settings.RATE_LIMIT_REQUESTS, '50');
  t.is(settings.AGENT_TIMEOUT, '120');
  const [agent] = agents;
  t.deepEqual(agent?.limits, {
    max_steps: 3,
    max_tokens: 4,
    max_cost_usd: 0.5,
    timeout: 60,
    memory: 1024 ** 3,
    cpu: 1,
  });
  t.deepEqual(agent?.tasks.default, [{ description: 'Tidy up', priority: 'low', dependencies: ['other'] }]);
  t.is(agent?.objectives[0]?.id, 'build');
});

/** What is wrong with the minimal agent after a change, line by line. */
const withChange = (from: string, to: string) => {
  if (!minimal.includes(from)) throw new Error(`the minimal agent has no ${from}`);
  return minimal.replace(from, to);
};

const bad: [what: string, text: string, problems: string[]][] = [
  ['no TOML', '[[agents]\nname = 1', ['f:1: the file is not TOML: expected end of table array declaration']],
  ['an unclosed text', 'x = "abc', ['f:1: the file is not TOML: unfinished string']],
  [
    'a key twice',
    '[llm]\nprovider = "demo"\nprovider = "demo"',
    ['f:3: the file is not TOML: trying to redefine an already defined table or value'],
  ],
  [
    'an unknown section',
    '[orchestraton]\nx = 1',
    ['f:1: orchestraton is not a known field; did you mean "orchestration"?'],
  ],
  [
    'an unknown setting',
    '[llm]\nprovder = "demo"',
    ['f:2: llm.provder is not a known field; did you mean "provider"?'],
  ],
  [
    'a setting that is a list',
    '[llm]\nprovider = ["demo"]',
    ['f:2: llm.provider must be a single value: a text, a number, true or false'],
  ],
  ['a section that is a value', 'llm = "demo"', ['f:1: llm must be a section, written [llm]']],
  [
    'an unknown resource limit',
    '[security.resource_limits]\nmax_mem = "1GB"',
    ['f:2: security.resource_limits.max_mem is not a known field; did you mean "max_memory"?'],
  ],
  ['agents as one table', '[agents]\nname = "x"', ['f:1: agents must be written [[agents]], once for each agent']],
  ['no name', withChange('name = "custom-agent"\n', ''), ['f:1: agents[1].name is missing']],
  [
    'a name with capitals',
    withChange('custom-agent', 'Custom_Agent'),
    ['f:2: agents[1].name must be 1 to 63 of a-z, 0-9 and "-", and start with a letter or a digit'],
  ],
  [
    'a name that leaves its folder',
    withChange('custom-agent', '../etc'),
    ['f:2: agents[1].name must be 1 to 63 of a-z, 0-9 and "-", and start with a letter or a digit'],
  ],
  ['a number for a name', withChange('"custom-agent"', '7'), ['f:2: agents[1].name must be a text in quotes, not 7']],
  ['no version', withChange('version = "1.0.0"\n', ''), ['f:1: agents[1].version is missing']],
  ['an empty domain', withChange('custom-domain', ' '), ['f:4: agents[1].domain must not be empty']],
  [
    'an unknown priority',
    withChange('"high"', '"urgent"'),
    ['f:5: agents[1].priority is "urgent"; it takes critical, high, medium, low'],
  ],
  [
    'a branch that is an option',
    withChange('feature/custom-work', '--upload-pack=x'),
    ['f:7: agents[1].branch must be a git branch name'],
  ],
  [
    'a misspelt field',
    withChange('workstream =', 'workstrem ='),
    [
      'f:1: agents[1].workstream is missing',
      'f:6: agents[1].workstrem is not a known field; did you mean "workstream"?',
    ],
  ],
  [
    'no capabilities',
    withChange('[agents.capabilities]\nprimary = ["capability1", "capability2"]\nsecondary = ["capability3"]\n', ''),
    ['f:1: agents[1].capabilities is missing'],
  ],
  [
    'capabilities that are no list',
    withChange('["capability3"]', '"capability3"'),
    ['f:11: agents[1].capabilities.secondary must be a list in [ ], not "capability3"'],
  ],
  [
    'a misspelt capability list',
    withChange('secondary', 'secundary'),
    ['f:11: agents[1].capabilities.secundary is not a known field; did you mean "secondary"?'],
  ],
  [
    'no objectives',
    minimal.slice(0, minimal.indexOf('[[agents.objectives]]')),
    ['f:1: agents[1].objectives is missing'],
  ],
  [
    'an objective without a deliverable',
    withChange('deliverable = "A working component"\n', ''),
    ['f:13: agents[1].objectives[1].deliverable is missing'],
  ],
  [
    'an objective with an unknown field',
    withChange('validation =', 'validate = "x"\nvalidation ='),
    ['f:16: agents[1].objectives[1].validate is not a known field; did you mean "validation"?'],
  ],
  [
    'an objective that waits for a stranger',
    `${minimal}depends_on = ["plan"]\n`,
    ['f:17: agents[1].objectives[1].depends_on[1] there is no objective "plan"; known are objective-1'],
  ],
  [
    'an objective that waits for itself',
    `${minimal}id = "a"\ndepends_on = ["a"]\n`,
    ['f:18: agents[1].objectives[1].depends_on goes round in a circle: a → a'],
  ],
  [
    'an objective id twice',
    `${minimal}id = "a"\n[[agents.objectives]]\nid = "a"\ndescription = "x"\ndeliverable = "x"\nvalidation = "x"\n`,
    ['f:19: agents[1].objectives[2].id "a" is used twice; ids are unique within an agent'],
  ],
  [
    'an agent that waits for a stranger',
    withChange('branch =', 'depends_on = ["custom-agnt"]\nbranch ='),
    ['f:7: agents[1].depends_on[1] there is no agent "custom-agnt"; did you mean "custom-agent"?'],
  ],
  [
    'agents that wait for each other',
    withChange('branch =', 'depends_on = ["b"]\nbranch =') +
      withChange('custom-agent', 'b').replace('branch =', 'depends_on = ["custom-agent"]\nbranch ='),
    ['f:7: agents[1].depends_on goes round in a circle: custom-agent → b → custom-agent'],
  ],
  [
    'a name twice',
    minimal + minimal,
    ['f:18: agents[2].name "custom-agent" is the name of agents[1] already; choose another'],
  ],
  [
    'a schedule that is no cron line',
    withChange('branch =', 'schedule = "every day"\nbranch ='),
    ['f:7: agents[1].schedule is no cron line such as "0 6 * * 1-5" (minute hour day month weekday): '],
  ],
  [
    'a schedule that never comes',
    withChange('branch =', 'schedule = "0 0 30 2 *"\nbranch ='),
    ['f:7: agents[1].schedule never comes: no date is like that'],
  ],
  [
    'a schedule that comes each second',
    withChange('branch =', 'schedule = "* * * * * *"\nbranch ='),
    ['f:7: agents[1].schedule is no cron line such as "0 6 * * 1-5" (minute hour day month weekday): '],
  ],
  [
    'an unknown limit',
    withChange('branch =', 'limits = { steps = 3 }\nbranch ='),
    ['f:7: agents[1].limits.steps is not a known field; did you mean "max_steps"?'],
  ],
  [
    'a limit below one',
    withChange('branch =', 'limits = { max_steps = 0 }\nbranch ='),
    ['f:7: agents[1].limits.max_steps must be at least 1'],
  ],
  [
    'a size without a unit that is known',
    withChange('branch =', 'limits = { memory = "12 parsecs" }\nbranch ='),
    ['f:7: agents[1].limits.memory must be a size such as "512MB" or "1GB"'],
  ],
  [
    'a task without a description',
    `${minimal}[[agents.tasks.default]]\npriority = "low"\n`,
    ['f:17: agents[1].tasks.default[1].description is missing'],
  ],
  [
    'a task that waits for a stranger',
    `${minimal}[[agents.tasks.default]]\ndescription = "x"\ndependencies = ["nobody"]\n`,
    ['f:19: agents[1].tasks.default[1].dependencies[1] there is no agent "nobody"; known are custom-agent'],
  ],
];

const server = `[[mcp_servers]]
name = "files"
command = ["mcp-files", "/workspace"]
env = { LEVEL = "2" }
secrets = { TOKEN = "FILES_TOKEN" }
workstreams = ["main"]
`;

const serverWithChange = (from: string, to: string) => {
  if (!server.includes(from)) throw new Error(`the server has no ${from}`);
  return server.replace(from, to);
};

const badServers: typeof bad = [
  [
    'MCP servers as one table',
    '[mcp_servers]\nname = "x"',
    ['f:1: mcp_servers must be written [[mcp_servers]], once for each server'],
  ],
  [
    'an MCP server name twice',
    server + server,
    ['f:8: mcp_servers[2].name "files" is the name of mcp_servers[1] already'],
  ],
  [
    'an MCP server name with an underscore',
    serverWithChange('"files"', '"my_files"'),
    ['f:2: mcp_servers[1].name must be 1 to 31 of a-z'],
  ],
  [
    'an MCP server that is neither started nor reached',
    serverWithChange('command = ["mcp-files", "/workspace"]\n', ''),
    ['f:1: mcp_servers[1] needs command = ["program", "argument"] or url = "https://…"'],
  ],
  [
    'an MCP server that is both started and reached',
    `${server}url = "https://example.com/mcp"\n`,
    ['f:7: mcp_servers[1].url is one too many: a server has either command or url, not both'],
  ],
  [
    'a misspelt field of an MCP server',
    `${server}readonly = ["*"]\n`,
    ['f:7: mcp_servers[1].readonly is not a known field; did you mean "read_only"?'],
  ],
  [
    'a command that is one text',
    serverWithChange('["mcp-files", "/workspace"]', '"mcp-files /workspace"'),
    ['f:3: mcp_servers[1].command must be a list in [ ], not "mcp-files /workspace"'],
  ],
  [
    'an empty command',
    serverWithChange('["mcp-files", "/workspace"]', '[]'),
    ['f:3: mcp_servers[1].command needs a program'],
  ],
  [
    'an MCP server on another protocol',
    '[[mcp_servers]]\nname = "x"\nurl = "file:///etc/passwd"',
    ['f:3: mcp_servers[1].url must be an address that starts with https:// or http://'],
  ],
  [
    'a password in the address of an MCP server',
    '[[mcp_servers]]\nname = "x"\nurl = "https://me:secret@example.com/mcp"',
    ['f:3: mcp_servers[1].url holds a password; name a header in secrets instead'],
  ],
  [
    'headers for an MCP server that is started',
    `${server}headers = { X = "1" }\n`,
    ['f:7: mcp_servers[1].headers is not used by a server with command; it takes env'],
  ],
  [
    'a variable with a bad name',
    serverWithChange('LEVEL', '"A B"'),
    ['f:4: mcp_servers[1].env.A B is not the name of an environment variable'],
  ],
  [
    'a secret in the clear',
    serverWithChange('"FILES_TOKEN"', '"ghp-123.abc"'),
    [
      'f:5: mcp_servers[1].secrets.TOKEN must be the name of an environment variable of the runner, not the secret itself',
    ],
  ],
  [
    'a value that is a secret as well',
    serverWithChange('TOKEN =', 'LEVEL ='),
    ['f:5: mcp_servers[1].secrets.LEVEL is in env as well; write it once'],
  ],
  [
    'a header of the protocol itself',
    '[[mcp_servers]]\nname = "x"\nurl = "https://example.com"\nheaders = { Mcp-Session-Id = "1" }',
    ['f:4: mcp_servers[1].headers.Mcp-Session-Id is a header that the protocol sets itself'],
  ],
  [
    'a header of two lines',
    '[[mcp_servers]]\nname = "x"\nurl = "https://example.com"\nheaders = { X-A = "1\\nX-B: 2" }',
    ['f:4: mcp_servers[1].headers.X-A must be printable ASCII on one line'],
  ],
  [
    "secrets for an MCP server that is nobody's",
    serverWithChange('workstreams = ["main"]\n', ''),
    ['f:1: mcp_servers[1] has secrets, so it needs workstreams = ["…"]'],
  ],
  [
    'an MCP server for no workstream',
    serverWithChange('["main"]', '[]'),
    ['f:6: mcp_servers[1].workstreams must name a workstream, or "*" for all'],
  ],
  [
    'an agent that has an MCP server of another workstream',
    server + minimal.replace('"capability1"', '"mcp:files"').replace('"main"', '"other"'),
    ['f:16: agents[1].capabilities.primary[1] is not for the workstream "other"'],
  ],
  ['no time for a call', `${server}timeout = 0\n`, ['f:7: mcp_servers[1].timeout must be']],
];

const rule = `[[repositories]]
path = "/srv/shared"
branches = { main = ["main", "fix/*"] }
`;

const badRules: typeof bad = [
  ['repositories as one table', '[repositories]\npath = "/x"', ['f:1: repositories must be written [[repositories]]']],
  [
    "a repository that is nobody's",
    '[[repositories]]\npath = "/x"',
    ['f:1: repositories[1] needs workstreams = ["…"]'],
  ],
  ['a repository twice', `${rule}${rule}`, ['f:5: repositories[2].path is that of repositories[1] already']],
  [
    'a misspelt field of a repository',
    `${rule}branch = "x"`,
    ['f:4: repositories[1].branch is not a known field; did you mean "branches"?'],
  ],
  [
    'a URL of many meanings',
    '[[repositories]]\npath = "https://example.com/a%2fb"\nworkstreams = ["*"]',
    ['f:2: repositories[1].path must be a folder, or a URL without'],
  ],
  [
    'an agent on a branch that is not for its workstream',
    rule + minimal.replace('[agents.capabilities]', 'repository = "/srv/shared"\n[agents.capabilities]'),
    ["f:10: agents[1].branch is not one of the workstream's in this repository; it takes main, fix/*"],
  ],
  [
    'an agent on a repository of another workstream',
    rule + minimal.replace('"main"', '"other"').replace('[agents.cap', 'repository = "/srv/shared/x"\n[agents.cap'),
    ['f:12: agents[1].repository is not for the workstream "other"'],
  ],
];

for (const [what, text, expected] of [...bad, ...badServers, ...badRules]) {
  test(`agents.toml with ${what} is refused with its line, field and fix`, (t) => {
    const lines = parseAgentsFile(text).problems.map((problem) => problemLine('f', problem));
    t.is(lines.length, expected.length, lines.join('\n'));
    for (const [index, start] of expected.entries())
      t.true(lines[index]?.startsWith(start), `${lines[index]}\n${start}`);
  });
}

test('a bad agent is left out, the good ones stay', (t) => {
  const { agents, problems, fatal } = parseAgentsFile(
    minimal + withChange('"high"', '"urgent"').replace('custom-agent', 'bad') + minimal.replace('custom-agent', 'good'),
  );
  t.deepEqual(
    agents.map(({ name }) => name),
    ['custom-agent', 'good'],
  );
  t.is(problems.length, 1);
  t.false(fatal);
});

test('MCP servers are read with what they leave out, and a bad one leaves the others and the agents', (t) => {
  const remote = '[[mcp_servers]]\nname = "web"\nurl = "https://example.com/mcp"\ntimeout = 5\n';
  const { agents, mcpServers, problems, fatal } = parseAgentsFile(
    server + serverWithChange('command', 'comand').replace('files', 'bad') + remote + minimal,
  );
  t.deepEqual(mcpServers, [
    {
      name: 'files',
      command: ['mcp-files', '/workspace'],
      env: { LEVEL: '2' },
      headers: {},
      in_workspace: false,
      secrets: { TOKEN: 'FILES_TOKEN' },
      workstreams: ['main'],
      tools: ['*'],
      read_only: [],
      timeout: 60,
      start_timeout: 20,
      result_chars_max: 50_000,
    },
    {
      name: 'web',
      url: 'https://example.com/mcp',
      env: {},
      headers: {},
      in_workspace: false,
      secrets: {},
      tools: ['*'],
      read_only: [],
      timeout: 5,
      start_timeout: 20,
      result_chars_max: 50_000,
    },
  ]);
  t.is(agents.length, 1);
  t.deepEqual(
    problems.map(({ field, line }) => `${line} ${field}`),
    ['9 mcp_servers[2].comand'],
  );
  t.false(fatal);
});

test('the agents that are shipped are in order', (t) => {
  const { agents, problems } = parseAgentsFile(readFileSync('config/agents.toml', 'utf8'));
  t.deepEqual(problems, []);
  t.is(agents.length, 3);
});
