import test from 'ava';
import { SignJWT } from 'jose';
import type { Draft } from '#shared/contracts/events.ts';
import { recallMemory } from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { started } from '#test/helpers/events.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { secret, startGateway } from '#test/helpers/gateway.ts';
import { readEvents } from '#test/helpers/sse.ts';
import { toka } from '#test/helpers/toka.ts';

// What an agent has kept is its own: whoever has its name later, or may write where runs write, gets nothing of it and puts nothing into it.

const writer = { source: '/toka/test/1', actor: 'service:agent-runner' };

const limitedTo = async (...workstreams: string[]) => ({
  authorization: `Bearer ${await new SignJWT({ scope: 'admin', workstreams })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('eve')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret))}`,
});

/** A run of an agent that is at work. */
async function runOf({ bus, call }: Gateway, agent: string): Promise<string> {
  const { json } = await call('POST', `/agents/${agent}/runs`, { input: 'x' });
  await bus.append(newEvent(started, `run/${json.id}`, writer));
  return json.id;
}

const remember = ({ bus }: Gateway, agent: string, runId: string | null, text: string, id = newId('mem')) =>
  bus.append(newEvent({ type: 'toka.memory.remembered.v1', data: { id, text, runId } }, `memory/${agent}`, writer));

/** What is listed, and what a run is told, once all that was written is in the archive. */
async function known({ bus, call }: Gateway, agent: string, runId?: string) {
  const minSeq = await bus.lastSeq();
  const listed = await call('GET', `/agents/${agent}/memories?minSeq=${minSeq}`);
  const recalled = await bus.ask(recallMemory, { agentId: agent, ...(runId ? { runId } : {}), minSeq });
  const searched = await bus.ask(recallMemory, { agentId: agent, query: 'secret', ...(runId ? { runId } : {}) });
  const texts = (items: { text: string }[]) => items.map(({ text }) => text);
  return { listed: texts(listed.json.items), recalled: texts(recalled), searched: texts(searched) };
}
const nothing = { listed: [], recalled: [], searched: [] };

test('an agent that is registered under the name of a removed one begins without memories, and its runs are told none', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput({ workstream: 'alpha' }));
  const old = await runOf(gateway, 'scout');
  await remember(gateway, 'scout', old, 'the secret of alpha');
  t.deepEqual((await known(gateway, 'scout', old)).searched, ['the secret of alpha']);
  t.is((await call('DELETE', '/agents/scout')).status, 204);
  t.is((await call('GET', `/agents/scout/memories?minSeq=${await gateway.bus.lastSeq()}`)).status, 404);
  await remember(gateway, 'scout', old, 'the secret of alpha, said while there was nobody');

  await call('POST', '/agents', agentInput({ workstream: 'beta' }));
  const run = await runOf(gateway, 'scout');
  t.deepEqual(await known(gateway, 'scout', run), nothing);
  await remember(gateway, 'scout', old, 'the secret of alpha, said by a run that is late');
  t.deepEqual(await known(gateway, 'scout', run), nothing);
  await remember(gateway, 'scout', run, 'the secret of beta');
  t.deepEqual((await known(gateway, 'scout', run)).recalled, ['the secret of beta']);
  t.deepEqual((await known(gateway, 'scout', old)).recalled, [], 'and an old run is told nothing of the new agent');
});

test('nothing is planted: by no run, by the run of another agent, by one that has ended, by one that there is not', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  for (const name of ['scout', 'other']) await call('POST', '/agents', agentInput({ name }));
  const [run, others, over] = [
    await runOf(gateway, 'scout'),
    await runOf(gateway, 'other'),
    await runOf(gateway, 'scout'),
  ];
  await call('POST', `/runs/${over}/cancel`, {});
  for (const by of [null, others, over, newId('run')]) await remember(gateway, 'scout', by, 'planted, secret');
  await remember(gateway, 'nobody', run, 'planted, secret');
  t.deepEqual(await known(gateway, 'scout', run), nothing);
  t.is((await call('GET', '/agents/nobody/memories')).status, 404);
  t.deepEqual((await known(gateway, 'scout', others)).recalled, []);
});

test('the events of a removed agent and its memory are not shown to whoever has its name in another workstream', async (t) => {
  await using gateway = await startGateway();
  const { call, bus, url } = gateway;
  const hush = agentInput({ workstream: 'alpha', instructions: 'hush' });
  await call('POST', '/agents', hush);
  const seq = await remember(gateway, 'scout', await runOf(gateway, 'scout'), 'hush');
  await call('DELETE', '/agents/scout');
  await call('POST', '/agents', agentInput({ workstream: 'beta' }));
  const headers = await limitedTo('beta');
  const minSeq = await bus.lastSeq();
  t.is((await call('GET', `/agents?minSeq=${minSeq}`, undefined, headers)).json.items.length, 1);
  t.is((await call('GET', `/events/${seq}`, undefined, headers)).status, 404);
  t.is((await call('GET', `/events/${seq}`)).status, 200);

  const run = await runOf(gateway, 'scout');
  for (const query of ['?since=0', '?since=0&subject=memory/scout', '?since=0&agent=scout']) {
    const stop = new AbortController();
    const response = await fetch(`${url}/events${query}`, { headers, signal: stop.signal });
    await remember(gateway, 'scout', run, 'the last');
    const seen: string[] = [];
    for await (const { data } of readEvents(response)) {
      seen.push(JSON.stringify(data));
      if (seen.at(-1)?.includes('the last')) break;
    }
    stop.abort();
    t.notRegex(seen.join('\n'), /hush/, query);
  }
});

test('people look at what an agent has kept and take it away, within their workstreams and scopes', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  await call('POST', '/agents', agentInput({ workstream: 'alpha' }));
  const run = await runOf(gateway, 'scout');
  const ids = [newId('mem'), newId('mem'), newId('mem')];
  for (const [index, id] of ids.entries()) await remember(gateway, 'scout', run, `fact ${index + 1}`, id);
  const minSeq = await bus.lastSeq();
  const first = await call('GET', `/agents/scout/memories?limit=2&minSeq=${minSeq}`);
  t.deepEqual(
    first.json.items.map(({ text }: { text: string }) => text),
    ['fact 3', 'fact 2'],
  );
  const second = await call('GET', `/agents/scout/memories?limit=2&cursor=${first.json.nextCursor}`);
  t.like(second.json, { items: [{ text: 'fact 1', runId: run, id: ids[0] }], nextCursor: null });

  const beta = await limitedTo('beta');
  t.is((await call('GET', '/agents/scout/memories', undefined, beta)).status, 404);
  t.is((await call('DELETE', `/agents/scout/memories/${ids[0]}`, undefined, beta)).status, 404);
  t.is((await call('DELETE', `/agents/scout/memories/${newId('mem')}`)).status, 404);
  t.is((await call('DELETE', '/agents/scout/memories/x')).status, 400);

  const gone = await call('DELETE', `/agents/scout/memories/${ids[0]}`, undefined, await limitedTo('alpha'));
  t.is(gone.status, 204);
  const after = await call('GET', `/agents/scout/memories?minSeq=${gone.headers.get('toka-seq')}`);
  t.is(after.json.items.length, 2);
  t.is((await call('DELETE', `/agents/scout/memories/${ids[0]}`)).status, 404);
  const [forgotten] = await bus.readAt([Number(gone.headers.get('toka-seq'))]);
  t.like(forgotten, { type: 'toka.memory.forgotten.v1', actor: 'user:eve' } as Partial<Draft>);

  const at = { environment: { TOKA_URL: gateway.url, JWT_SECRET: secret } };
  t.is((await toka(['agents', 'memories', 'scout'], at)).out.split('\n')[0]?.split('\t').at(-1), 'fact 3');
  t.is((await toka(['agents', 'forget', 'scout', ids[1] ?? '', ids[2] ?? ''], at)).code, 0);
  t.is((await toka(['agents', 'memories', 'scout'], at)).out, '');
});
