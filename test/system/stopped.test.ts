import test from 'ava';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { agentScript, anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { System } from '#test/helpers/system.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

test('a runner that was stopped while it waited to ask a model again asks nothing when it wakes: another has gone on', async (t) => {
  await using provider = await startFakeProvider({ script: agentScript });
  await using system = await startSystem({
    agents: '',
    environment: {
      ...anthropicAt(provider),
      RESPONSE_CACHE_ENABLED: 'false',
    },
  });
  await Promise.all([system.kill('agent-runner'), system.kill('llm-proxy')]);
  const stopped = await system.another('agent-runner');
  const first = await begin(system, 'first');
  await system.saw(({ type, subject }) => type === 'toka.run.started.v1' && subject === first);
  await stopped.signal('SIGSTOP');
  await Promise.all([system.start('agent-runner'), system.start('llm-proxy')]);
  await ended(system, first);
  const asked = provider.requests.length;

  await system.kill('agent-runner');
  await stopped.signal('SIGCONT');
  // What it had in hand when it was stopped comes before anything new.
  const second = await begin(system, 'second');
  await ended(system, second);
  const again = provider.requests.slice(asked).filter(({ messages }) => messages[0]?.text.includes('Work as first.'));
  t.deepEqual(
    again.map(({ turns, forced }) => ({ turns, forced })),
    [],
  );
  const turns = system.events.filter(({ type, subject }) => type === 'toka.run.step-completed.v1' && subject === first);
  t.true(turns.length > 0);
});

test('a runner that gets its own run a second time, for it was stopped longer than its lease, goes on with it', async (t) => {
  await using provider = await startFakeProvider({ delayMs: 4_000, script: agentScript });
  await using system = await startSystem({
    agents: '',
    environment: {
      ...anthropicAt(provider),
      RESPONSE_CACHE_ENABLED: 'false',
    },
  });
  await system.kill('agent-runner');
  const runner = await system.another('agent-runner');
  const run = await begin(system, 'alone');
  await eventually(() => provider.requests.length === 1);
  await runner.signal('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await runner.signal('SIGCONT');
  await ended(system, run);
  const starts = system.events.filter(({ type, subject }) => type === 'toka.run.started.v1' && subject === run);
  t.is(starts.length, 1);
  const firsts = provider.requests.filter(({ turns, forced }) => turns === 0 && forced === undefined);
  t.is(firsts.length, 1, 'the answer that it waited for is the one that counts');
});

/** A new agent with one objective; answers its run's subject. */
async function begin({ api, saw }: System, name: string): Promise<string> {
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const objectives = [{ description: `Work as ${name}.`, deliverable: 'end.md', validation: 'It ends' }];
  const body = JSON.stringify(agentInput({ name, objectives }));
  const answer = await fetch(`${api}/agents`, { method: 'POST', headers, body });
  if (answer.status !== 201) throw new Error(await answer.text());
  const isOurs = (data: object) => 'agentId' in data && data.agentId === name;
  return (await saw(({ type, data }) => type === 'toka.run.queued.v1' && isOurs(data))).subject;
}

const ended = ({ events }: System, run: string) =>
  eventually(() => events.some(({ type, subject }) => subject === run && type === 'toka.run.completed.v1')).catch(
    (error) => {
      const types = events.filter(({ subject }) => subject === run).map(({ type }) => type);
      throw new Error(types.join('\n'), { cause: error });
    },
  );
