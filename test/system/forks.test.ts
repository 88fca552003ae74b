import test from 'ava';
import { createClient } from '#shared/client/client.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { FakeReply, FakeRequest } from '#test/helpers/fake-provider.ts';
import { anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const call = (tool: string, args: Record<string, unknown>): FakeReply => ({ text: '', toolCalls: [{ tool, args }] });
const instead = 'Say what files there are instead';

/** Writes two files and says so; told to say what files there are, it looks. */
function script({ forced, turns, conversation }: FakeRequest): FakeReply {
  if (forced === 'verdict') return call('verdict', { pass: true, reasons: [] });
  if (conversation.includes(instead)) {
    const files = /(one\.txt[^"]*)/.exec(conversation.slice(conversation.lastIndexOf(instead)))?.[1];
    return files
      ? call('submit_deliverable', { summary: 'It looked.', content: files })
      : call('shell', { command: 'ls' });
  }
  if (turns === 0) return call('write_file', { path: 'one.txt', content: '1' });
  if (turns === 1) return call('write_file', { path: 'two.txt', content: '2' });
  return call('submit_deliverable', { summary: 'Two files.', content: 'one and two' });
}

test('a run goes on from a step of another, with what was said and what was in the workspace then', async (t) => {
  await using provider = await startFakeProvider({ script });
  await using system = await startSystem({
    agents: '',
    environment: {
      ...anthropicAt(provider),
    },
  });
  const toka = createClient({ url: system.api, token: await tokenOf('admin') });
  await toka.createAgent({
    body: agentInput({ capabilities: { primary: ['filesystem-write', 'shell'], secondary: [] } }),
  });
  const { subject } = await system.saw(({ type }) => type === 'toka.run.completed.v1');
  const id = subject.slice('run/'.length);
  const wrote = system.events.find(
    ({ type, data }) =>
      type === 'toka.run.tool-returned.v1' && (data as DataOf<'toka.run.tool-returned.v1'>).tool === 'write_file',
  );
  const at = wrote?.seq ?? 0;

  const then = await toka.getRunState({ id, at });
  t.like(then, { at, run: { status: 'running', steps: 1 } });
  t.deepEqual(
    then.messages.map(({ role }) => role),
    ['user', 'assistant', 'tool'],
  );
  const now = await toka.getRunState({ id });
  t.is(now.run.status, 'completed');
  t.true(now.messages.length > then.messages.length);
  await t.throwsAsync(toka.getRunState({ id, at: 1 }), { code: 'not-found' }, 'it had not begun');

  const body = { at, message: instead, overrides: { instructions: 'Be brief.' } };
  const fork = await toka.forkRun({ id, body }, { waitSeconds: 60, idempotencyKey: 'f1' });
  t.like(fork, { status: 'completed', forkOf: { runId: id, at }, steps: 2, result: 'It looked.' });
  const files = await (await toka.getArtifact({ id: fork.id, name: fork.deliverable?.name ?? '' })).text();
  t.regex(files, /one\.txt/);
  t.notRegex(files, /two\.txt/, 'which was not there yet');
  const first = provider.requests.find(({ conversation }) => conversation.includes(instead));
  t.is(first?.turns, 1, 'the model has before it what it had said');
  const again = await toka.forkRun({ id, body }, { idempotencyKey: 'f1' });
  t.is(again.id, fork.id, 'asked twice it is one');
  const forked = (await system.bus.read('run', id)).filter(({ type }) => type === 'toka.run.forked.v1');
  t.deepEqual(
    forked.map(({ data }) => data),
    [{ runId: fork.id, at }],
  );
  t.is((await toka.getRun({ id })).status, 'completed');
});
