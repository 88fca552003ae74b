import type { ExecutionContext } from 'ava';
import test from 'ava';
import { commandRun } from '#shared/command.ts';
import type { DataOf, Recorded } from '#shared/contracts/events.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { FaultProxy } from '#test/helpers/fault-proxy.ts';
import { startFaultProxy } from '#test/helpers/fault-proxy.ts';
import type { System } from '#test/helpers/system.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const call = (tool: string, args: Record<string, unknown> = {}): FakeReply => ({
  text: '',
  toolCalls: [{ tool, args }],
});

/** What the model does, in order; it looks at what has become of a call, and makes one that was interrupted again. */
const plan: FakeReply[] = [
  {
    text: '',
    toolCalls: [
      { tool: 'list_files', args: {} },
      { tool: 'read_file', args: { path: 'README.md' } },
    ],
  },
  call('edit_file', { path: 'README.md', old_text: 'small', new_text: 'great' }),
  call('shell', { command: 'echo line >> log.txt' }),
  call('delegate', { agent: 'child', task: 'Say yes' }),
  call('submit_deliverable', { summary: 'done', content: 'The end.' }),
];

function says(request: FakeRequest): FakeReply {
  if (request.forced === 'verdict') return call('verdict', { pass: true, reasons: [] });
  if (request.system.includes('"child"')) return { text: 'yes' };
  const interrupted = request.messages.filter(({ text }) => text.includes('This call was interrupted')).length;
  return plan[request.turns - interrupted] ?? { text: 'Nothing is left.' };
}

type Matrix = { system: System; proxy: FaultProxy; requests: FakeRequest[] };

async function open(stack: AsyncDisposableStack): Promise<Matrix> {
  const provider = stack.use(await startFakeProvider({ script: says }));
  let proxy: FaultProxy | undefined;
  const system = stack.use(
    await startSystem({
      agents: '',
      environment: {
        ...anthropicAt(provider),
        RESPONSE_CACHE_ENABLED: 'false',
        RATE_LIMIT_REQUESTS: '10000',
        RETRY_BACKOFF: '0.1',
      },
      async settingsOf(nats) {
        proxy = stack.use(await startFaultProxy(nats.port));
        return { 'agent-runner': { NATS_URL: proxy.url } };
      },
    }),
  );
  if (!proxy) throw new Error('there is no proxy');
  // Whatever is asked is approved, by whoever sees it first.
  const writer = { source: '/toka/test/1', actor: 'user:test' };
  const timer = setInterval(() => {
    for (const { type, data, subject } of system.events.slice(-20)) {
      if (type !== 'toka.run.approval-requested.v1') continue;
      const { id } = data as DataOf<'toka.run.approval-requested.v1'>;
      const decided = { approvalId: id, decision: 'approved' as const, reason: null };
      void commandRun(system.bus, subject.slice('run/'.length), { type: 'decide', decided }, writer).catch(
        () => undefined,
      );
    }
  }, 50);
  stack.defer(() => clearInterval(timer));
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const child = agentInput({ name: 'child', schedule: '0 0 1 1 *' });
  await fetch(`${system.api}/agents`, { method: 'POST', headers, body: JSON.stringify(child) });
  return { system, proxy, requests: provider.requests };
}

/** A new agent with one objective; answers its run's subject. */
async function begin({ system }: Matrix, name: string): Promise<string> {
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const body = agentInput({
    name,
    repository: `${system.folder}/repository`,
    capabilities: { primary: ['filesystem-write', 'delegate'], secondary: ['shell'] },
    objectives: [
      {
        description: `Work as ${name}.`,
        deliverable: 'end.md',
        validation: 'It ends',
        validation_command: 'test "$(cat log.txt)" = line',
      },
    ],
  });
  const answer = await fetch(`${system.api}/agents`, { method: 'POST', headers, body: JSON.stringify(body) });
  if (answer.status !== 201) throw new Error(await answer.text());
  const queued = await system.saw(
    ({ type, data }) => type === 'toka.run.queued.v1' && 'agentId' in data && data.agentId === name,
  );
  return queued.subject;
}

const eventsOf = (system: System, subject: string) => system.events.filter((event) => event.subject === subject);

async function ended({ system }: Matrix, subject: string): Promise<Recorded[]> {
  const isEnd = ({ type }: Recorded) => /run\.(completed|failed|cancelled)/.test(type);
  await eventually(() => eventsOf(system, subject).some(isEnd), 120_000).catch((error) => {
    throw new Error(
      eventsOf(system, subject)
        .map(({ type }) => type)
        .join('\n'),
      { cause: error },
    );
  });
  return eventsOf(system, subject);
}

/** What must be the same wherever the runner died. */
function outcomeOf(events: readonly Recorded[]) {
  const one = <T extends Recorded['type']>(type: T) =>
    events.find((event) => event.type === type)?.data as DataOf<T> | undefined;
  const failed = one('toka.run.failed.v1');
  return {
    end: failed ? `${failed.code}: ${failed.message}` : one('toka.run.completed.v1')?.result,
    deliverable: one('toka.run.deliverable-submitted.v1')?.artifact.sha256,
    diff: one('toka.run.workspace-kept.v1')?.diff?.sha256,
    child: one('toka.run.child-ended.v1')?.result,
  };
}

/** Each call has one beginning and one result, and no answer that was recorded was asked for again. */
function check(t: ExecutionContext, { requests }: Matrix, name: string, events: readonly Recorded[]): void {
  const count = (type: Recorded['type'], callId: string) =>
    events.filter((event) => event.type === type && 'callId' in event.data && event.data.callId === callId).length;
  for (const { type, data } of events) {
    if (type !== 'toka.run.tool-called.v1') continue;
    const { callId } = data as DataOf<'toka.run.tool-called.v1'>;
    t.is(count('toka.run.tool-called.v1', callId), 1, `${name}: ${callId} began twice`);
    t.is(
      count('toka.run.tool-returned.v1', callId) + count('toka.run.deliverable-submitted.v1', callId),
      1,
      `${name}: ${callId}`,
    );
  }
  const own = requests.filter(({ messages }) => messages[0]?.text.includes(`Work as ${name}.`));
  for (const [turn, { time }] of events.filter(({ type }) => type === 'toka.run.step-completed.v1').entries())
    t.false(
      own.some((each) => each.forced === undefined && each.turns === turn && each.timeMs > Date.parse(time)),
      `${name}: turn ${turn} was asked again`,
    );
}

for (const when of ['before', 'after'] as const)
  test(`a runner that dies ${when} any event of a run was recorded: the next goes on, and the outcome is the same`, async (t) => {
    t.timeout(1_200_000);
    await using stack = new AsyncDisposableStack();
    const matrix = await open(stack);
    const { system, proxy } = matrix;
    const from = proxy.count();
    const whole = await ended(matrix, await begin(matrix, 'whole'));
    const boundaries = proxy.count() - from;
    const wanted = outcomeOf(whole);
    t.is(wanted.end, 'done');
    t.is(wanted.child, 'yes');
    t.truthy(wanted.diff);
    t.true(boundaries >= 25, `${boundaries} events`);
    t.log(`${boundaries} events of the runner`);
    for (let at = 1; at <= boundaries; at++) {
      const died = Promise.withResolvers<void>();
      proxy.arm(at, when, () => void system.kill('agent-runner').then(died.resolve));
      const name = `m-${at}`;
      const subject = await begin(matrix, name);
      // An event that another writer's had to be repeated after counts twice: then the last one is not reached.
      await Promise.race([died.promise, ended(matrix, subject).catch(() => undefined)]);
      if (proxy.disarm()) {
        t.true(at > boundaries - 3, `at ${at} nothing happened`);
        break;
      }
      await died.promise;
      await system.start('agent-runner');
      const events = await ended(matrix, subject);
      t.deepEqual(outcomeOf(events), wanted, `at ${at}: ${events.map(({ type }) => type.slice(9)).join(' ')}`);
      check(t, matrix, name, events);
    }
  });
