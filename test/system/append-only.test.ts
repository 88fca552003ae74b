import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { anthropicAt } from '#test/helpers/fake-provider.ts';
import { modelsFileIn } from '#test/helpers/models.ts';
import { startSigningProvider } from '#test/helpers/signing-provider.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

// Every way in which a run's prompt is made, against a provider that signs its thinking and refuses what was made from something else.

const call = (tool: string, args: Record<string, unknown> = {}): FakeReply => ({
  text: 'I look.',
  toolCalls: [{ tool, args }],
});
const done = (text: string): FakeReply => ({ text });
const lastResult = ({ messages }: FakeRequest) => messages.findLast(({ role }) => role === 'tool')?.text ?? '';
const read = (turn: number) => call('read_file', { path: `part-${turn}.md` });
const parts = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`part-${index}.md`, `Part ${index}.\n`]));

type Says = (request: FakeRequest) => FakeReply | Promise<FakeReply>;

/** An MCP server whose tools change when they are told to. */
async function startFickleServer() {
  let description = 'Acts.';
  const answers = (method: string) => {
    const common = { resultType: 'complete', ttlMs: 0, cacheScope: 'private' };
    if (method === 'server/discover')
      return {
        ...common,
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: {} },
        serverInfo: { name: 'fickle', version: '1' },
      };
    if (method === 'tools/list')
      return { ...common, tools: [{ name: 'act', description, inputSchema: { type: 'object' } }] };
    return { resultType: 'complete', content: [{ type: 'text', text: 'acted' }] };
  };
  const server = createServer(async (request: IncomingMessage, response) => {
    if (request.method !== 'POST') return void response.writeHead(405).end();
    const { id, method } = (await json(request)) as { id?: number; method: string };
    if (id === undefined) return void response.writeHead(202).end();
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result: answers(method) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    authority: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    change() {
      description = 'Acts otherwise.';
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function open() {
  await using stack = new AsyncDisposableStack();
  const scripts = new Map<string, Says>();
  const provider = stack.use(
    await startSigningProvider((request) => {
      if (request.forced === 'verdict') return call('verdict', { pass: true, reasons: [] });
      if (request.system.startsWith('You sum up')) return done('All parts so far were read.');
      return scripts.get(nameIn(request.system))?.(request) ?? done('Nothing.');
    }),
  );
  const fickle = stack.use(await startFickleServer());
  const folder = stack.use(await temporaryFolder()).path;
  const models = await modelsFileIn(
    folder,
    '[aliases]\nclever = ["anthropic/claude-first", "anthropic/claude-second"]\n',
  );
  const system = stack.use(
    await startSystem({
      agents: `[[mcp_servers]]\nname = "fickle"\nurl = "http://${fickle.authority}/mcp"\n`,
      files: { ...parts, 'long.md': 'A line of a long text.\n'.repeat(400) },
      environment: {
        ...anthropicAt(provider),
        MODELS_FILE: models,
        LLM_RETRIES: '0',
        RESPONSE_CACHE_ENABLED: 'false',
        RATE_LIMIT_REQUESTS: '10000',
        MAX_CONCURRENT_AGENTS: '20',
        EGRESS_EXEMPT: fickle.authority,
      },
    }),
  );
  const headers = {
    authorization: `Bearer ${await tokenOf('admin')}`,
    'content-type': 'application/json',
    'if-match': '*',
  };
  const ask = async (method: string, path: string, body?: unknown) => {
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await fetch(`${system.api}${path}`, init);
    const text = await response.text();
    return { status: response.status, text, json: text.startsWith('{') ? JSON.parse(text) : undefined };
  };
  const owned = stack.move();
  const toka = {
    ...{ system, provider, fickle, ask },
    async agent(t: ExecutionContext, name: string, changes: Partial<AgentInput>, says: Says) {
      scripts.set(name, says);
      const body = agentInput({ name, schedule: '0 0 1 1 *', repository: `${system.folder}/repository`, ...changes });
      const { status, text } = await ask('POST', '/agents', body);
      t.is(status, 201, text);
    },
    async run(t: ExecutionContext, name: string, input = 'Read all parts'): Promise<string> {
      const { status, json: said } = await ask('POST', `/agents/${name}/runs`, { input });
      t.is(status, 202, JSON.stringify(said));
      return said.id;
    },
    async ended(t: ExecutionContext, id: string) {
      const isEnd = /run\.(completed|failed|cancelled)/;
      const { type, data } = await system.saw(
        (event) => event.subject === `run/${id}` && isEnd.test(event.type),
        40_000,
      );
      t.is(type, 'toka.run.completed.v1', JSON.stringify(data));
      return (data as DataOf<'toka.run.completed.v1'>).result ?? '';
    },
    approval: (id: string) =>
      eventually(async () => (await ask('GET', `/approvals?run=${id}&open=true`)).json.items[0] as { id: string }),
    /** What the model saw of its thinking at each of an agent's calls, and that nothing of it was ever refused or foreign. */
    seen(t: ExecutionContext, name: string): number[] {
      const mine = provider.answered.filter(({ request }) => nameIn(request.system) === name && !request.forced);
      t.deepEqual(
        provider.refusals.filter((each) => nameIn(each.system) === name),
        [],
      );
      t.true(mine.every(({ dropped }) => dropped === 0));
      return mine.map(({ seen }) => seen);
    },
    requests: (name: string) => provider.requests.filter(({ system: head }) => nameIn(head) === name),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
  return toka;
}

type Toka = Awaited<ReturnType<typeof open>>;
const nameIn = (system: string) => /You are "([a-z0-9-]+)"/.exec(system)?.[1] ?? '';
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);
const counted = (texts: string[], part: string) => texts.filter((text) => text.includes(part)).length;
const userTexts = (request: FakeRequest | undefined) =>
  (request?.messages ?? []).flatMap(({ role, text }) => (role === 'user' ? [text] : []));

/** A gate in a script: `reached` once the model is at this answer, which comes when `go` is called. */
function gate() {
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  const { promise: opened, resolve: go } = Promise.withResolvers<void>();
  return {
    reached,
    go,
    async pass() {
      reach();
      await opened;
    },
  };
}

const ways: Record<string, (t: ExecutionContext, toka: Toka) => Promise<void>> = {
  async 'steps, and nothing else'(t, toka) {
    await toka.agent(t, 'plain', {}, ({ turns }) => (turns < 5 ? read(turns) : done('Read.')));
    await toka.ended(t, await toka.run(t, 'plain'));
    t.deepEqual(toka.seen(t, 'plain'), upTo(6));
  },
  async 'the note on limits stays where it was said'(t, toka) {
    await toka.agent(t, 'noted', { limits: { max_steps: 10 } }, ({ turns }) => (turns < 9 ? read(turns) : done('.')));
    await toka.ended(t, await toka.run(t, 'noted'));
    t.deepEqual(toka.seen(t, 'noted'), upTo(10));
    const last = userTexts(toka.requests('noted').at(-1));
    t.deepEqual(
      last.flatMap((text) => /^\[This run has (\d) more answers left/.exec(text)?.[1] ?? []),
      ['2', '1'],
    );
  },
  async 'the note on a circle stays, and makes none of the circle undone'(t, toka) {
    await toka.agent(t, 'circling', {}, ({ turns }) => (turns < 5 ? read(0) : done('Enough.')));
    await toka.ended(t, await toka.run(t, 'circling'));
    t.deepEqual(toka.seen(t, 'circling'), upTo(6));
    const last = userTexts(toka.requests('circling').at(-1));
    for (const times of [3, 4, 5]) t.is(counted(last, `the same calls ${times} times`), 1, last.join('\n'));
  },
  async 'a message that comes while the model is at an answer, and one at its last'(t, toka) {
    const [first, last] = [gate(), gate()];
    await toka.agent(t, 'spoken', {}, async ({ turns, messages }) => {
      if (turns === 1) await first.pass();
      if (turns === 3 && !messages.some(({ text }) => text === 'PERSON: two')) await last.pass();
      return turns < 3 ? read(turns) : done(userTexts({ messages } as FakeRequest).at(-1) ?? '');
    });
    const id = await toka.run(t, 'spoken');
    await first.reached;
    t.is((await toka.ask('POST', `/runs/${id}/messages`, { text: 'PERSON: one', mode: 'enqueue' })).status, 202);
    first.go();
    await last.reached;
    t.is((await toka.ask('POST', `/runs/${id}/messages`, { text: 'PERSON: two', mode: 'enqueue' })).status, 202);
    last.go();
    t.is(await toka.ended(t, id), 'PERSON: two', 'what was said last is answered');
    t.deepEqual(toka.seen(t, 'spoken'), upTo(5));
    const order = (toka.requests('spoken').at(-1)?.messages ?? []).map(({ role, text }) =>
      role === 'user' && text.startsWith('PERSON') ? text : role,
    );
    const step = ['assistant', 'tool'];
    t.deepEqual(order, ['user', ...step, ...step, 'PERSON: one', ...step, 'assistant', 'user', 'PERSON: two']);
  },
  async 'messages between, while a tool runs, and one that ends what is at hand'(t, toka) {
    const late = gate();
    await toka.agent(t, 'between', { capabilities: { primary: ['shell'], secondary: [] } }, async (request) => {
      const { turns, messages } = request;
      if (turns === 0) return call('shell', { command: 'sleep 0.5' });
      if (turns < 3) return call('shell', { command: `echo ${turns}` });
      if (!messages.some(({ text }) => text === 'PERSON: now')) await late.pass();
      return done('Done.');
    });
    const id = await toka.run(t, 'between');
    await toka.system.saw(({ type, subject }) => type === 'toka.run.tool-called.v1' && subject === `run/${id}`);
    t.is((await toka.ask('POST', `/runs/${id}/messages`, { text: 'PERSON: on', mode: 'enqueue' })).status, 202);
    await late.reached;
    t.is((await toka.ask('POST', `/runs/${id}/messages`, { text: 'PERSON: now', mode: 'interrupt' })).status, 202);
    await toka.ended(t, id);
    late.go();
    t.deepEqual(toka.seen(t, 'between').slice(0, 4), upTo(4));
  },
  async 'approvals that are given and refused, and a question'(t, toka) {
    const capabilities = { primary: ['ask-human'], secondary: ['shell'] };
    const says: Says = ({ turns, conversation }) => {
      if (turns === 0)
        return conversation.includes('a question')
          ? call('ask_human', { question: 'Which?' })
          : call('shell', { command: 'echo 1' });
      return turns < 3 ? call('ask_human', { question: `And ${turns}?` }) : done('Done.');
    };
    for (const [name, task, decision] of [
      ['granted', 'Do it', { decision: 'approved' }],
      ['refused', 'Do it', { decision: 'denied', reason: 'no' }],
      ['asking', 'Do it with a question', { decision: 'answered', answer: 'this one' }],
    ] as const) {
      await toka.agent(t, name, { capabilities }, says);
      const id = await toka.run(t, name, task);
      await toka.ask('POST', `/approvals/${(await toka.approval(id)).id}`, decision);
      for (const answer of ['one', 'two']) {
        const next = await toka.approval(id);
        t.is((await toka.ask('POST', `/approvals/${next.id}`, { decision: 'answered', answer })).status, 200);
        await eventually(async () => (await toka.ask('GET', `/approvals/${next.id}`)).json.decided !== null);
      }
      await toka.ended(t, id);
      t.deepEqual(toka.seen(t, name), upTo(4), name);
    }
  },
  async 'compaction that leaves results out, and one that sums up'(t, toka) {
    const limits = { max_tokens: 10_000_000 };
    const full = { inputTokens: 130_000 };
    await toka.agent(t, 'elided', { limits }, ({ turns }) =>
      turns < 9
        ? { ...call('read_file', { path: 'long.md', offset: turns }), ...(turns === 6 ? { usage: full } : {}) }
        : done('.'),
    );
    const elided = await toka.run(t, 'elided');
    // Notes that were summed up are gone, so that turns begin to count anew.
    await toka.agent(t, 'summed', { limits }, () => {
      const read = toka.requests('summed').length - 1;
      return read < 9
        ? { ...call('read_file', { path: `part-${read}.md` }), ...(read === 6 ? { usage: full } : {}) }
        : done('.');
    });
    const summed = await toka.run(t, 'summed');
    await Promise.all([toka.ended(t, elided), toka.ended(t, summed)]);
    for (const [id, name] of [
      [elided, 'elided'],
      [summed, 'summed'],
    ] as const) {
      const compacted = toka.system.events.filter(
        ({ type, subject }) => type === 'toka.run.context-compacted.v1' && subject === `run/${id}`,
      );
      t.is(compacted.length, 1);
      t.is(JSON.stringify(compacted[0]?.data).includes('"summary":null'), name === 'elided');
      t.deepEqual(toka.seen(t, name), [...upTo(7), 0, 1, 2], 'thinking begins anew behind it');
    }
  },
  async 'forks: plain, from a step, with other instructions, with another model, by an agent with other tools'(
    t,
    toka,
  ) {
    const says: Says = ({ turns, messages }) =>
      turns < 4 || (messages.at(-1)?.text === 'On.' && turns < 6) ? read(turns) : done('Read.');
    await toka.agent(t, 'forked', {}, says);
    const id = await toka.run(t, 'forked');
    await toka.ended(t, id);
    const steps = toka.system.events.filter(
      ({ type, subject }) => type === 'toka.run.tool-returned.v1' && subject === `run/${id}`,
    );
    const at = steps[1]?.seq;
    const fork = async (body: object) => {
      const before = toka.seen(t, 'forked').length;
      const { status, json: said } = await toka.ask('POST', `/runs/${id}/fork`, body);
      t.is(status, 202, JSON.stringify(said));
      await toka.ended(t, said.id);
      return toka.seen(t, 'forked').slice(before);
    };
    t.deepEqual(await fork({ message: 'On.' }), [5, 6], 'all of it is there yet');
    t.deepEqual(await fork({ at }), [2, 3, 4]);
    t.deepEqual(await fork({ at, overrides: { instructions: 'Be brief.' } }), [0, 1, 2]);
    t.deepEqual(await fork({ at, overrides: { model: 'claude-other' } }), [0, 1, 2]);
    const capabilities = { primary: ['filesystem-read', 'memory'], secondary: [] };
    const spec = agentInput({
      name: 'forked',
      schedule: '0 0 1 1 *',
      repository: `${toka.system.folder}/repository`,
      capabilities,
    });
    t.is((await toka.ask('PUT', '/agents/forked', spec)).status, 200);
    t.deepEqual(await fork({ at }), [0, 1, 2]);
  },
  async 'the results of runs that were delegated'(t, toka) {
    await toka.agent(t, 'helper', {}, ({ turns }) => (turns < 2 ? read(turns) : done('helped')));
    await toka.agent(
      t,
      'boss',
      { capabilities: { primary: ['delegate', 'filesystem-read'], secondary: [] } },
      (request) => {
        if (request.turns === 1 || request.turns === 2)
          return call('delegate', { agent: 'helper', task: `Help ${request.turns}` });
        return request.turns === 0 || request.turns === 3 ? read(request.turns) : done(lastResult(request));
      },
    );
    await toka.ended(t, await toka.run(t, 'boss'));
    t.deepEqual(toka.seen(t, 'boss'), upTo(5));
    t.deepEqual(toka.seen(t, 'helper'), [...upTo(3), ...upTo(3)]);
  },
  async 'a server whose tools change while the run waits'(t, toka) {
    const capabilities = { primary: ['mcp:fickle', 'ask-human'], secondary: [] };
    await toka.agent(t, 'fickle', { capabilities }, ({ turns, tools }) => {
      if (turns === 0 || turns === 2)
        return call(Object.keys(tools).find((name) => name.startsWith('mcp__')) ?? 'none');
      return turns === 1 ? call('ask_human', { question: 'On?' }) : done('Acted.');
    });
    const id = await toka.run(t, 'fickle');
    const { id: approval } = await toka.approval(id);
    toka.fickle.change();
    await toka.ask('POST', `/approvals/${approval}`, { decision: 'answered', answer: 'on' });
    await toka.ended(t, id);
    t.deepEqual(toka.seen(t, 'fickle'), [0, 1, 0, 1]);
    const descriptions = toka.requests('fickle').map(({ body }) => JSON.stringify(body.tools));
    t.true(descriptions.at(-1)?.includes('Acts otherwise.'));
  },
  async 'an alias whose first model fails in the middle, and comes back'(t, toka) {
    await toka.agent(t, 'moving', { model: 'clever' }, ({ turns, model }) => {
      if (model === 'claude-first' && (turns === 2 || turns === 3)) return { status: 529 };
      return turns < 6 ? read(turns) : done('Read.');
    });
    await toka.ended(t, await toka.run(t, 'moving'));
    t.deepEqual(toka.seen(t, 'moving'), [0, 1, 0, 1, 0, 1, 2]);
  },
  async 'the judge, and work that was refused'(t, toka) {
    const submit = call('submit_deliverable', { summary: 'done', content: 'A report.' });
    const objectives = [{ description: 'Read all parts', deliverable: 'a.md', validation: 'It is good' }];
    await toka.agent(t, 'judged', { objectives, schedule: undefined }, ({ turns }) =>
      turns < 3 ? read(turns) : submit,
    );
    const queued = await toka.system.saw(
      ({ type, data }) => type === 'toka.run.queued.v1' && 'agentId' in data && data.agentId === 'judged',
    );
    await toka.ended(t, queued.subject.slice('run/'.length));
    t.deepEqual(toka.seen(t, 'judged'), upTo(4));
    t.true(toka.provider.answered.some(({ request, seen }) => request.forced === 'verdict' && seen === 0));
  },
};

test('whatever a prompt is made of, thinking goes back where it still holds, and nowhere else: no call is refused', async (t) => {
  await using toka = await open();
  const failed: string[] = [];
  await Promise.all(
    Object.entries(ways).map(([what, way]) =>
      way(t, toka).catch(
        (error: unknown) => void failed.push(`${what}: ${error instanceof Error ? error.stack : error}`),
      ),
    ),
  );
  t.deepEqual(failed, []);
  t.deepEqual(toka.provider.refusals, []);

  // A runner that dies in the middle, at last: it takes the others with it.
  const stuck = gate();
  let isStuck = true;
  await toka.agent(t, 'mortal', {}, async ({ turns }) => {
    if (turns === 2 && isStuck) await stuck.pass();
    return turns < 4 ? read(turns) : done('Read.');
  });
  const id = await toka.run(t, 'mortal');
  await stuck.reached;
  await toka.system.kill('agent-runner');
  isStuck = false;
  stuck.go();
  await toka.system.start('agent-runner');
  await toka.ended(t, id);
  t.deepEqual(toka.seen(t, 'mortal').toSorted(), [0, 1, 2, 2, 3, 4]);
});
