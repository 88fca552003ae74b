import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { newId } from '#shared/ids.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { agentScript, anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const call = (tool: string, args: Record<string, unknown> = {}): FakeReply => ({
  text: '',
  toolCalls: [{ tool, args }],
});
const submit = (content: string) => call('submit_deliverable', { summary: 'done', content });
const isJudge = ({ forced }: FakeRequest) => forced === 'verdict';
const verdict = (pass: boolean, reason: string) => call('verdict', { pass, reasons: [reason] });

type Case = {
  agent: Partial<AgentInput>;
  /** What the model says to this agent; `count` counts its requests from 1. */
  says(request: FakeRequest, count: number): FakeReply | Promise<FakeReply>;
  /** How its run ends. */
  ends: { type: string; message?: RegExp };
  /** Event types that lie on the way. */
  by?: string[];
};

const cases: Record<string, Case> = {
  endless: {
    agent: { limits: { max_steps: 3 } },
    says: () => call('list_files'),
    ends: { type: 'toka.run.failed.v1', message: /3 steps/ },
  },
  talkative: {
    agent: { limits: { max_tokens: 50 } },
    says: () => ({ ...call('list_files'), usage: { inputTokens: 40, outputTokens: 20 } }),
    ends: { type: 'toka.run.failed.v1', message: /tokens/ },
  },
  slow: {
    agent: { limits: { timeout: 1 } },
    says: async () => {
      await new Promise((resolve) => setTimeout(resolve, 600));
      return call('list_files');
    },
    ends: { type: 'toka.run.failed.v1', message: /1 s/ },
  },
  silent: {
    agent: {},
    says: () => ({ text: 'I am done, believe me.' }),
    ends: { type: 'toka.run.failed.v1' },
  },
  unlucky: {
    agent: {},
    says: (request, count) => (count <= 12 ? { status: 503 } : agentScript(request, count)),
    ends: { type: 'toka.run.completed.v1' },
    by: ['toka.run.retry-scheduled.v1'],
  },
  locked: {
    agent: {},
    says: () => ({ status: 401, message: 'invalid x-api-key' }),
    ends: { type: 'toka.run.failed.v1', message: /key/i },
  },
  sloppy: {
    agent: {},
    says: (request) => {
      if (isJudge(request)) return verdict(request.conversation.includes('with sources'), 'it names no sources');
      return submit(request.conversation.includes('it names no sources') ? 'A report with sources.' : 'A report.');
    },
    ends: { type: 'toka.run.completed.v1' },
    by: ['toka.run.validated.v1', 'toka.run.deliverable-submitted.v1'],
  },
  hopeless: {
    agent: {},
    says: (request) => (isJudge(request) ? verdict(false, 'it is not good') : submit('A report.')),
    ends: { type: 'toka.run.failed.v1', message: /refused 3 times\. it is not good/ },
  },
  confused: {
    agent: {},
    says: (request, count) => {
      if (isJudge(request)) return verdict(true, 'fine');
      if (count === 1) return call('rm_rf', { path: '/' });
      if (count === 2) return call('read_file', { path: '../../etc/passwd' });
      return submit(
        request.conversation.includes('is outside the workspace') ? 'It was refused.' : 'It was not refused.',
      );
    },
    ends: { type: 'toka.run.completed.v1' },
  },
};

test('runs end as they should: limits, refusals, faults of the provider, and models that do as they like', async (t) => {
  const counts = new Map<string, number>();
  await using provider = await startFakeProvider({
    script: (request) => {
      const name = Object.keys(cases).find((each) => request.conversation.includes(`Work as ${each}.`)) ?? '';
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      return cases[name]?.says(request, count) ?? { status: 500 };
    },
  });
  await using system = await startSystem({
    agents: '',
    environment: {
      LLM_PROVIDER: 'openai',
      OPENAI_API_KEY: 'key-of-the-tests',
      OPENAI_BASE_URL: provider.openAiUrl,
      LLM_MODEL: 'gpt-test',
      RESPONSE_CACHE_ENABLED: 'false',
      RATE_LIMIT_REQUESTS: '10000',
      MAX_CONCURRENT_AGENTS: '20',
    },
  });
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  for (const [name, { agent }] of Object.entries(cases)) {
    const objectives = [{ description: `Work as ${name}.`, deliverable: 'a.md', validation: 'It is good' }];
    const body = JSON.stringify(agentInput({ name, objectives, ...agent }));
    t.is((await fetch(`${system.api}/agents`, { method: 'POST', headers, body })).status, 201, name);
  }
  for (const [name, { ends, by = [] }] of Object.entries(cases)) {
    const queued = await system.saw(
      ({ type, data }) => type === 'toka.run.queued.v1' && 'agentId' in data && data.agentId === name,
    );
    const isOfRun = ({ subject }: Recorded) => subject === queued.subject;
    const end = await system.saw(
      (event) => isOfRun(event) && /completed|failed|cancelled/.test(event.type.replace('step-completed', '')),
      60_000,
    );
    const message = 'message' in end.data ? String(end.data.message) : '';
    t.is(end.type, ends.type as never, `${name}: ${message}`);
    if (ends.message) t.regex(message, ends.message, name);
    for (const type of by)
      t.true(
        system.events.some((event) => isOfRun(event) && event.type === type),
        `${name} ${type}`,
      );
  }
  t.is(counts.get('locked'), 1, 'what cannot succeed later is not tried again');
  t.false(JSON.stringify(system.events).includes('key-of-the-tests'));
});

test('a run that is cancelled ends at once, in the middle of a model call', async (t) => {
  await using provider = await startFakeProvider({ delayMs: 20_000 });
  await using system = await startSystem({
    agents: '',
    environment: {
      ...anthropicAt(provider),
    },
  });
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  await fetch(`${system.api}/agents`, { method: 'POST', headers, body: JSON.stringify(agentInput()) });
  const { subject } = await system.saw(({ type }) => type === 'toka.run.started.v1');
  const id = subject.slice('run/'.length);
  // The task of a dispatch that another one has followed: it takes the run from nobody.
  await system.bus.tasks.add('low', { runId: id, dispatch: 1 }, newId('evt'));
  const response = await fetch(`${system.api}/runs/${id}/cancel`, {
    method: 'POST',
    headers,
    body: '{"reason": "enough"}',
  });
  t.is(response.status, 200);
  await system.saw(({ type }) => type === 'toka.run.cancelled.v1', 3_000);
  const written = response.headers.get('toka-seq');
  const view = await fetch(`${system.api}/runs/${id}?minSeq=${written}`, { headers });
  t.like(await view.json(), { status: 'cancelled', error: { message: 'enough' } });
  const events = await system.bus.read('run', id);
  t.is(events.filter(({ type }) => type === 'toka.run.started.v1').length, 1);
  await system.bus.tasks.queued().then((queued) => t.true(queued.size <= 1));
});
