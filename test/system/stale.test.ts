import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import test from 'ava';
import type { Recorded } from '#shared/contracts/events.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { agentScript, startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { System } from '#test/helpers/system.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const asks = 'PUB toka.llm.chat ';

/** A TCP relay before NATS that keeps a client's n-th question to a model to itself, and all that follows, until it is let go. */
async function startHold(stack: AsyncDisposableStack, port: number, n: number) {
  const hit = Promise.withResolvers<void>();
  const free = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let flow = Promise.resolve();
    for (const socket of [client, upstream]) {
      sockets.add(socket.setNoDelay(true).on('error', () => undefined));
      socket.on('close', () => [client, upstream].map((each) => each.destroy()));
    }
    upstream.on('data', (chunk) => void client.write(chunk));
    client.on('data', (chunk: Buffer) => {
      count += chunk.toString('latin1').split(asks).length - 1;
      if (count >= n) {
        hit.resolve();
        flow = free.promise;
      }
      void flow.then(() => upstream.write(chunk));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`, hit: hit.promise, letGo: free.resolve };
}

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

const completed = (subject: string) => (event: Recorded) =>
  event.subject === subject && event.type === 'toka.run.completed.v1';

const environmentOf = (url: string) => ({
  LLM_PROVIDER: 'anthropic',
  ANTHROPIC_API_KEY: 'key-of-the-tests',
  ANTHROPIC_BASE_URL: url,
  LLM_MODEL: 'claude-test',
  RESPONSE_CACHE_ENABLED: 'false',
});

test.serial(
  'a runner that is stopped on its way to ask a model asks nobody when it wakes: another has gone on',
  async (t) => {
    t.timeout(180_000);
    await using stack = new AsyncDisposableStack();
    const provider = stack.use(await startFakeProvider({ script: agentScript }));
    const system = stack.use(await startSystem({ agents: '', environment: environmentOf(provider.url) }));
    for (const turn of [1, 3]) {
      await system.kill('agent-runner');
      const hold = await startHold(stack, system.nats.port, turn);
      const stopped = await system.another('agent-runner', { NATS_URL: hold.url });
      const first = await begin(system, `first-${turn}`);
      await hold.hit;
      await stopped.signal('SIGSTOP');
      await system.start('agent-runner');
      await system.saw(completed(first));
      await system.kill('agent-runner');
      await stopped.signal('SIGCONT');
      hold.letGo();
      // What it had in hand when it was stopped comes before anything new.
      const second = await begin(system, `second-${turn}`);
      await system.saw(completed(second));
      await stopped.signal('SIGKILL');
      const asked = provider.requests
        .filter(({ conversation }) => conversation.includes(`Work as first-${turn}.`))
        .map(({ turns, forced }) => `${turns} ${forced ?? ''}`);
      t.deepEqual(asked, [...new Set(asked)], 'each turn once');
      const steps = system.events.filter(
        ({ type, subject }) => subject === first && type === 'toka.run.step-completed.v1',
      );
      t.is(asked.length, steps.length + 1, 'and the verdict');
    }
  },
);
