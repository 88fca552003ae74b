import test from 'ava';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { wires } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

for (const wire of wires)
  test(`nothing that ${wire} keeps for one key is there for another, on any path`, async (t) => {
    const bodies: string[] = [];
    await using raw = await startRaw((_, body, response) => {
      bodies.push(body);
      response.setHeader('content-type', 'application/json').end('{"choices":[{"finish_reason":"stop"}]}');
    });
    await using proxy = await startHttpProxy(wire, { script: () => ({ text: '' }), environment: raw.environment });
    const ask = { model: 'm', input: 'And then?' };
    const file = { type: 'document', source: { type: 'file', file_id: 'file_of_another' } };
    const attacks: [string, object | string][] = [
      ['/v1/responses', { ...ask, previous_response_id: 'resp_of_another' }],
      ['/v1/responses', { ...ask, conversation: 'conv_of_another' }],
      ['/v1/responses', { ...ask, prompt: { id: 'pmpt_of_another' } }],
      ['/v1/responses', { ...ask, background: true }],
      ['/v1/responses', { ...ask, input: [{ type: 'item_reference', id: 'rs_of_another' }] }],
      ['/v1/responses', { ...ask, tools: [{ type: 'file_search', vector_store_ids: ['vs_of_another'] }] }],
      ['/v1/responses', '{"model":"m","input":"x","previous\\u005fresponse_id":"resp_of_another"}'],
      ['/v1/chat/completions', { ...shortChat, messages: [{ role: 'user', content: [file] }] }],
      ['/v1/messages', { ...shortMessages, messages: [{ role: 'user', content: [file] }] }],
      ['/v1/messages', { ...shortMessages, container: 'container_of_another' }],
      ['/v1/messages/count_tokens', { ...shortMessages, messages: [{ role: 'user', content: [file] }] }],
      ['/v1/embeddings', { ...ask, file_id: 'file_of_another' }],
    ];
    for (const [path, body] of attacks) {
      const refused = await proxy.post(path, body);
      t.is(refused.status, 400, JSON.stringify(body));
      t.regex(await refused.text(), /port 4000 is stateless/);
    }
    for (const path of [
      '/v1/files',
      '/v1/batches',
      '/v1/responses/resp_of_another',
      '/v1/conversations',
      '/v1/containers',
    ])
      t.is((await proxy.post(path, ask)).status, 404, path);
    t.is(bodies.length, 0);
    // What one reader sees and another does not is sent as we have read it.
    const twice = '{"model":"m","max_tokens":9,"previous_response_id":"resp_of_another","previous_response_id":null,';
    const path = wire === 'openai' ? '/v1/chat/completions' : '/v1/messages';
    await proxy.post(path, `${twice}"messages":[{"role":"user","content":"Hi"}]}`);
    t.is(bodies.length, 1);
    t.false(bodies[0]?.includes('resp_of_another'));
  });

test("ids of the client's own are no references: Codex sends such ones with each turn", async (t) => {
  await using raw = await startRaw((_, __, response) => {
    response.setHeader('content-type', 'application/json').end('{"id":"resp_1","status":"completed","output":[]}');
  });
  await using proxy = await startHttpProxy('openai', { script: () => ({ text: '' }), environment: raw.environment });
  const own = { client_metadata: { thread_id: 'a', turn_id: 'b', installation_id: 'c' }, metadata: { job_id: 'd' } };
  t.is((await proxy.post('/v1/responses', { model: 'm', input: 'And then?', ...own })).status, 200);
});
