import test from 'ava';
import { openArtifactKeeper } from '#shared/bus/bus.ts';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import type { Draft } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { dispatched, facts, returned, started, step, submitted } from '#test/helpers/events.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway } from '#test/helpers/gateway.ts';
import { toka } from '#test/helpers/toka.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** As the collector does. */
async function takeAway({ nats }: Gateway, { sha256 }: ArtifactRef): Promise<void> {
  await using keeper = await openArtifactKeeper({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 });
  await keeper.purge(keeper.infoSubject(sha256));
}

async function endedRun(gateway: Gateway) {
  const { call, bus } = gateway;
  const put = (text: string) => bus.artifacts.put(Buffer.from(text));
  await call('POST', '/agents', agentInput());
  const { id } = (await call('POST', '/agents/scout/runs', { input: 'Look around' })).json;
  const refs = {
    whole: await put('the beginning, and all the rest'),
    image: await put('a picture'),
    answer: await put(JSON.stringify({ text: 'a long answer', toolCalls: [], stopReason: 'end' })),
    base: await put('a bundle'),
    saved: await put('another bundle'),
    delivered: await put('handed in'),
    diff: await put('diff --git a b'),
  };
  const commit = 'c'.repeat(40);
  const returns = { ...returned('one-1').data, text: 'the beginning', whole: refs.whole };
  const kept = { branch: 'main', base: null, head: null, commits: 1, bundle: null, pushed: 'no', artifacts: [] };
  const at: Record<string, number> = {};
  const append = async (name: string, draft: Draft) => {
    at[name] = await bus.append(newEvent(draft, `run/${id}`, writer));
  };
  await append('dispatched', dispatched);
  await append('started', started);
  await append('one', step('one', 'read_file'));
  await append('returned', {
    type: 'toka.run.tool-returned.v1',
    data: { ...returns, image: { mediaType: 'image/png', artifact: refs.image } } as never,
  });
  await append('opened', { type: 'toka.run.workspace-opened.v1', data: { branch: 'main', commit, bundle: refs.base } });
  await append('two', {
    type: 'toka.run.step-completed.v1',
    data: { ...facts, calls: [], answer: { artifact: refs.answer } },
  });
  await append('saved', {
    type: 'toka.run.workspace-saved.v1',
    data: { snapshot: { commit, bundle: refs.saved } },
  });
  await append('three', step('three', 'submit_deliverable'));
  await append('delivered', {
    type: 'toka.run.deliverable-submitted.v1',
    data: { ...submitted('three-1').data, artifact: refs.delivered } as never,
  });
  await append('kept', { type: 'toka.run.workspace-kept.v1', data: { ...kept, diff: refs.diff } });
  await append('completed', { type: 'toka.run.completed.v1', data: { result: 'done' } });
  return { id, refs, at };
}

test('what is no longer kept is told so, with what can still be had', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const { id, refs, at } = await endedRun(gateway);
  const state = (seq?: number) => call('GET', `/runs/${id}/state${seq ? `?at=${seq}` : ''}`);
  const fork = (body: object = {}) => call('POST', `/runs/${id}/fork`, body);
  const seq = at.completed;
  const told = { role: 'tool', callId: 'one-1', isError: false };

  // Of a tool's result its beginning is left.
  await takeAway(gateway, refs.whole);
  await takeAway(gateway, refs.image);
  const words = '[The rest of this result is no longer kept.]\n[The picture that came with it is no longer kept.]';
  const { messages } = (await state()).json;
  t.deepEqual(messages[2], { ...told, text: `the beginning\n${words}` });
  t.is((await fork()).status, 202);

  await takeAway(gateway, refs.delivered);
  const artifact = await call('GET', `/runs/${id}/artifacts/inventory.md?minSeq=${seq}`);
  t.like(artifact.json, { status: 410, code: 'gone', title: 'Gone' });
  t.regex(artifact.json.detail, /^"inventory.md" of run run_\w+ is no longer kept: .*DELIVERABLES_MAX_AGE/);
  t.is((await call('GET', `/runs/${id}/artifacts`)).json.items.length, 1, 'that it was there is known');
  t.regex((await fork()).json.detail, /the deliverable of event \d+ .*, or with a message$/);
  t.is((await fork({ message: 'Once more' })).status, 202);

  t.is((await call('GET', `/runs/${id}/diff`)).text, 'diff --git a b');
  await takeAway(gateway, refs.diff);
  t.is((await call('GET', `/runs/${id}/diff`)).status, 410);
  const cli = await toka(['runs', 'diff', id], { environment: { TOKA_URL: gateway.url, TOKA_TOKEN: gateway.admin } });
  t.is(cli.code, 3);
  t.regex(cli.err, /what run run_\w+ changed is no longer kept: .*DELIVERABLES_MAX_AGE/);

  await takeAway(gateway, refs.saved);
  t.is((await state()).status, 200, 'what was said needs no workspace');
  const late = await fork({ message: 'Once more' });
  t.like(late.json, { status: 410, code: 'gone' });
  t.regex(late.json.detail, new RegExp(`the workspace of event ${at.saved} .*at=${(at.saved ?? 0) - 1}\\)`));
  t.is((await fork({ at: (at.saved ?? 0) - 1 })).status, 202);

  await takeAway(gateway, refs.answer);
  const shown = await state();
  t.like(shown.json, { status: 410, code: 'gone' });
  t.regex(
    shown.json.detail,
    new RegExp(`answer of event ${at.two} .*at=${(at.two ?? 0) - 1}\\), and at no later step`),
  );
  t.is((await fork({ at: at.two })).status, 410);
  t.is((await state(at.opened)).status, 200);
  t.is((await fork({ at: at.opened })).status, 202);

  // What a fork began with is another's to keep.
  const child = (await fork({ at: at.opened })).json;
  t.is((await call('POST', `/runs/${child.id}/fork`, {})).status, 202);
  await takeAway(gateway, refs.base);
  t.regex((await call('POST', `/runs/${child.id}/fork`, {})).json.detail, /can be forked at none of its steps$/);
});
