import type { ExecutionContext } from 'ava';
import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { DataOf, EventType, Recorded } from '#shared/contracts/events.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const call = (tool: string, args: Record<string, unknown> = {}): FakeReply => ({
  text: '',
  toolCalls: [{ tool, args }],
});
const done = (text: string): FakeReply => ({ text });
const lastResult = ({ messages }: FakeRequest) => messages.findLast(({ role }) => role === 'tool')?.text ?? '';

type Says = (request: FakeRequest) => FakeReply | Promise<FakeReply>;

/** Five processes, agents that only answer to what they are asked, and a model that says what the test says. */
async function open(environment: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  const scripts = new Map<string, Says>();
  const provider = stack.use(
    await startFakeProvider({
      script: (request) =>
        scripts.get(/You are "([a-z0-9-]+)"/.exec(request.system)?.[1] ?? '')?.(request) ?? done('Nothing.'),
    }),
  );
  const system = stack.use(
    await startSystem({
      agents: '',
      environment: {
        LLM_PROVIDER: 'openai',
        OPENAI_API_KEY: 'key-of-the-tests',
        OPENAI_BASE_URL: provider.openAiUrl,
        LLM_MODEL: 'gpt-test',
        RESPONSE_CACHE_ENABLED: 'false',
        RATE_LIMIT_REQUESTS: '10000',
        ...environment,
      },
    }),
  );
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const ask = async (method: string, path: string, body?: unknown) => {
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await fetch(`${system.api}${path}`, init);
    const text = await response.text();
    return {
      status: response.status,
      text,
      json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : undefined,
    };
  };
  const owned = stack.move();
  return {
    system,
    ask,
    /** Registers a paused-by-nature agent: what it works on are runs that the test asks for. */
    async agent(t: ExecutionContext, name: string, changes: Partial<AgentInput>, says: Says) {
      scripts.set(name, says);
      const body = agentInput({ name, schedule: '0 0 1 1 *', ...changes });
      t.is((await ask('POST', '/agents', body)).status, 201);
    },
    async run(t: ExecutionContext, name: string, input: string): Promise<string> {
      const { status, json, text } = await ask('POST', `/agents/${name}/runs`, { input });
      t.is(status, 202, text);
      return json.id;
    },
    async ended(id: string) {
      await system.saw(
        ({ type, subject }) => subject === `run/${id}` && /run\.(completed|failed|cancelled)/.test(type),
        40_000,
      );
      return (await eventually(async () => {
        const { json } = await ask('GET', `/runs/${id}`);
        return json.endedAt ? json : undefined;
      })) as { status: string; result: string; error: { message: string } | null; usage: { inputTokens: number } };
    },
    of: <T extends EventType>(id: string, type: T) =>
      system.events
        .filter((event): event is Recorded => event.subject === `run/${id}` && event.type === type)
        .map(({ data }) => data as DataOf<T>),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('a secondary capability waits for a person, holds no runner meanwhile, and is asked for once; a refusal is told', async (t) => {
  await using toka = await open({ MAX_CONCURRENT_AGENTS: '1' });
  const { system, ask } = toka;
  const capabilities = { primary: [], secondary: ['shell'] };
  await toka.agent(t, 'carer', { capabilities }, (request) => {
    if (request.turns < 2) return call('shell', { command: `echo ${request.turns}` });
    return done(`I saw ${lastResult(request)}`);
  });
  const first = await toka.run(t, 'carer', 'Look around');
  await system.saw(({ type }) => type === 'toka.run.approval-requested.v1');
  await eventually(async () => (await ask('GET', `/runs/${first}`)).json.status === 'waiting');
  t.like((await ask('GET', `/runs/${first}`)).json, {
    status: 'waiting',
    runner: null,
    approvals: [{ kind: 'capability', capability: 'shell' }],
  });
  // The one place for a run is free.
  await toka.agent(t, 'other', {}, () => done('free'));
  t.is((await toka.ended(await toka.run(t, 'other', 'Say something'))).result, 'free');

  const approval = await eventually(async () => (await ask('GET', '/approvals?open=true')).json.items[0]);
  t.like(approval, { runId: first, agentId: 'carer', tool: 'shell', decided: null });
  t.regex(approval.question, /May "carer" use "shell"[\s\S]*echo 0/);
  t.is((await ask('POST', `/approvals/${approval.id}`, { decision: 'answered', answer: 'x' })).status, 400);
  const decided = await ask('POST', `/approvals/${approval.id}`, { decision: 'approved' });
  t.like(decided.json, { decided: { decision: 'approved', by: 'user:ann' } });
  t.is(
    (await ask('POST', `/approvals/${approval.id}`, { decision: 'approved' })).status,
    200,
    'once more changes nothing',
  );
  t.is((await ask('POST', `/approvals/${approval.id}`, { decision: 'denied' })).status, 409);
  t.regex((await toka.ended(first)).result, /I saw 1\n/);
  t.is(toka.of(first, 'toka.run.approval-requested.v1').length, 1);

  const second = await toka.run(t, 'carer', 'Look around again');
  await system.saw(({ type, subject }) => type === 'toka.run.approval-requested.v1' && subject === `run/${second}`);
  const next = await eventually(async () => (await ask('GET', '/approvals?open=true')).json.items[0]);
  await ask('POST', `/approvals/${next.id}`, { decision: 'denied', reason: 'not today' });
  t.regex((await toka.ended(second)).result, /A person has refused this: not today/);
  t.deepEqual((await ask('GET', '/approvals?open=true')).json.items, []);
});

test('a call outside the grants is denied with an event, and each call that the agent wants approved is asked for', async (t) => {
  await using toka = await open();
  await toka.agent(t, 'sneaky', {}, (request) =>
    request.turns === 0 ? call('shell', { command: 'id' }) : done(lastResult(request)),
  );
  const run = await toka.run(t, 'sneaky', 'Go');
  t.regex((await toka.ended(run)).result, /not granted "shell"/);
  t.like(toka.of(run, 'toka.run.capability-missed.v1')[0], { tool: 'shell', needs: 'shell', allowed: false });

  const approvals = { required: ['write_*'], expires: 1 };
  await toka.agent(
    t,
    'careful',
    { approvals, capabilities: { primary: ['filesystem-write'], secondary: [] } },
    (request) => (request.turns === 0 ? call('write_file', { path: 'a', content: 'b' }) : done(lastResult(request))),
  );
  const late = await toka.run(t, 'careful', 'Write');
  t.regex((await toka.ended(late)).result, /nobody answered in time/, 'it fails closed');
  t.is(toka.of(late, 'toka.run.approval-decided.v1')[0]?.decision, 'expired');
});

test('a question waits for an answer of its form, and takes its default when nobody answers', async (t) => {
  await using toka = await open();
  const { system, ask } = toka;
  const schema = { type: 'object', properties: { colour: { enum: ['red', 'blue'] } }, required: ['colour'] };
  const capabilities = { primary: ['ask-human'], secondary: [] };
  await toka.agent(t, 'asker', { capabilities }, (request) =>
    request.turns === 0
      ? call('ask_human', {
          question: 'Which colour?',
          schema,
          ...(request.conversation.includes('quick') ? { default: { colour: 'red' }, expires: 1 } : {}),
        })
      : done(lastResult(request)),
  );
  const run = await toka.run(t, 'asker', 'Ask');
  await system.saw(({ type }) => type === 'toka.run.approval-requested.v1');
  const question = await eventually(async () => (await ask('GET', `/approvals?run=${run}`)).json.items[0]);
  t.like(question, { kind: 'question', question: 'Which colour?', schema });
  const wrong = await ask('POST', `/approvals/${question.id}`, { decision: 'answered', answer: { colour: 'green' } });
  t.is(wrong.status, 400);
  t.regex(wrong.text, /answer\.colour/);
  t.is(
    (await ask('POST', `/approvals/${question.id}`, { decision: 'answered', answer: { colour: 'blue' } })).status,
    200,
  );
  t.is((await toka.ended(run)).result, '{"colour":"blue"}');
  t.regex(
    (await toka.ended(await toka.run(t, 'asker', 'Ask, be quick'))).result,
    /the default holds: \{"colour":"red"\}/,
  );
});

test('work is handed to another agent with no more rights and a part of the budget, and a cancel goes down', async (t) => {
  await using toka = await open();
  const { ask, system } = toka;
  const both = { primary: ['delegate', 'filesystem-read'], secondary: [] };
  await toka.agent(
    t,
    'helper',
    { capabilities: { primary: ['shell', 'filesystem-read'], secondary: [] } },
    async (request) => {
      if (request.conversation.includes('for ever')) await new Promise((resolve) => setTimeout(resolve, 20_000));
      if (request.turns === 0) return call('shell', { command: 'id' });
      return done(`helper: ${lastResult(request).slice(0, 60)}`);
    },
  );
  await toka.agent(t, 'boss', { capabilities: both, limits: { max_tokens: 10_000 } }, (request) =>
    request.turns === 0
      ? call('delegate', {
          agent: 'helper',
          task: `Do it ${request.conversation.includes('long') ? 'for ever' : 'now'}`,
        })
      : done(`boss: ${lastResult(request)}`),
  );
  const run = await toka.run(t, 'boss', 'Get it done');
  const ended = await toka.ended(run);
  t.regex(ended.result, /boss: helper: Error: This agent was not granted "shell"/);
  const [delegated] = toka.of(run, 'toka.run.delegated.v1');
  const [queued] = toka.of(delegated?.runId ?? '', 'toka.run.queued.v1');
  t.deepEqual(queued?.definition.capabilities.primary, ['filesystem-read']);
  t.true((queued?.definition.limits.max_tokens ?? 0) < 5_001);
  t.like(queued?.parent, { runId: run, depth: 1 });
  t.is(ended.usage.inputTokens, 40, 'the child spends from its parent');

  const long = await toka.run(t, 'boss', 'Get it done, long');
  const child = await system.saw(
    ({ type, subject, data }) => type === 'toka.run.delegated.v1' && subject === `run/${long}` && 'runId' in data,
  );
  const childId = (child.data as DataOf<'toka.run.delegated.v1'>).runId;
  await system.saw(({ type, subject }) => type === 'toka.run.started.v1' && subject === `run/${childId}`);
  t.is((await ask('POST', `/runs/${long}/cancel`, {})).status, 200);
  t.is((await toka.ended(childId)).status, 'cancelled');
});

test('what is remembered in one run is recalled in another, by this agent alone', async (t) => {
  await using toka = await open();
  const says: Says = (request) => {
    if (request.turns > 0) return done(lastResult(request));
    return request.conversation.includes('Keep')
      ? call('remember', { text: 'The deploy key is in "vault" (AND it is old)' })
      : call('recall', { query: 'deploy OR" NEAR(' });
  };
  const capabilities = { primary: ['memory'], secondary: [] };
  await toka.agent(t, 'elephant', { capabilities }, says);
  await toka.agent(t, 'stranger', { capabilities }, says);
  const kept = (await toka.ended(await toka.run(t, 'elephant', 'Keep it'))).result;
  t.regex(kept, /^kept as mem_/);
  t.regex(
    (await toka.ended(await toka.run(t, 'elephant', 'What do you know?'))).result,
    /mem_[0-9A-Z]{26} \(\d{4}-\d\d-\d\d\): The deploy key/,
  );
  t.is((await toka.ended(await toka.run(t, 'stranger', 'What do you know?'))).result, 'nothing');
});

test('a person steers a run: a message after the step, one at once, a pause', async (t) => {
  await using toka = await open();
  const { ask, system } = toka;
  const capabilities = { primary: ['shell'], secondary: [] };
  await toka.agent(t, 'walker', { capabilities }, (request) => {
    const told = request.messages.findLast(({ role, text }) => role === 'user' && text.startsWith('PERSON'));
    if (told) return done(`${told.text} | ${lastResult(request)}`);
    return call('shell', { command: `sleep ${request.conversation.includes('slowly') ? 30 : 0.3}` });
  });
  const run = await toka.run(t, 'walker', 'Walk');
  await system.saw(({ type, subject }) => type === 'toka.run.tool-called.v1' && subject === `run/${run}`);
  t.is((await ask('POST', `/runs/${run}/messages`, { text: 'PERSON: no', mode: 'reject' })).status, 409);
  t.is((await ask('POST', `/runs/${run}/pause`, {})).json.status, 'paused');
  const steps = () => toka.of(run, 'toka.run.step-completed.v1').length;
  await eventually(
    () => toka.of(run, 'toka.run.tool-returned.v1').length === toka.of(run, 'toka.run.tool-called.v1').length,
  );
  const before = steps();
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.is(steps(), before, 'it does nothing');
  t.is((await ask('POST', `/runs/${run}/messages`, { text: 'PERSON: come home', mode: 'reject' })).status, 202);
  t.is((await ask('GET', `/runs/${run}`)).json.status, 'paused');
  await ask('POST', `/runs/${run}/resume`, {});
  t.regex((await toka.ended(run)).result, /^PERSON: come home \| \[exit code 0\]/);

  const slow = await toka.run(t, 'walker', 'Walk slowly');
  await system.saw(({ type, subject }) => type === 'toka.run.tool-called.v1' && subject === `run/${slow}`);
  const sentMs = Date.now();
  t.is((await ask('POST', `/runs/${slow}/messages`, { text: 'PERSON: stop', mode: 'interrupt' })).status, 202);
  t.regex((await toka.ended(slow)).result, /^PERSON: stop \| Error: interrupted/);
  t.true(Date.now() - sentMs < 15_000);
});
