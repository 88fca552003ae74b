import test from 'ava';
import { chatBody, shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { wires } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const limit = 1_000;
const environment = { LLM_MAX_OUTPUT_TOKENS: String(limit) };
const script = () => ({ text: 'Yes.' });
const names = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'];

for (const wire of wires)
  test(`LLM_MAX_OUTPUT_TOKENS holds on every wire of port 4000, whatever a client asks ${wire} for`, async (t) => {
    await using proxy = await startHttpProxy(wire, { script, environment });
    const asked = async (path: string, body: object) => {
      const answer = await proxy.post(path, body);
      t.is(answer.status, 200, await answer.clone().text());
      const sent = proxy.fake.requests.at(-1)?.body ?? {};
      const limits = names.flatMap((name) => (name in sent ? [sent[name]] : []));
      return { limits, told: answer.headers.get('x-toka-max-output-tokens') };
    };
    for (const name of ['max_tokens', 'max_completion_tokens'] as const) {
      t.deepEqual(await asked('/v1/chat/completions', { ...shortChat, [name]: 50_000 }), {
        limits: [limit],
        told: '1000',
      });
      t.deepEqual(await asked('/v1/chat/completions', { ...shortChat, [name]: 7 }), { limits: [7], told: null });
    }
    t.deepEqual(await asked('/v1/chat/completions', shortChat), { limits: [limit], told: null });
    t.deepEqual(await asked('/v1/chat/completions', { ...shortChat, stream: true }), { limits: [limit], told: null });
    t.deepEqual(await asked('/v1/messages', { ...shortMessages, max_tokens: 50_000 }), {
      limits: [limit],
      told: '1000',
    });
    if (wire === 'openai') return;
    const response = { model: 'm', input: 'Hi', max_output_tokens: 50_000 };
    t.deepEqual(await asked('/v1/responses', response), { limits: [limit], told: '1000' });
    t.deepEqual(await asked('/v1/responses', { model: 'm', input: 'Hi' }), { limits: [limit], told: null });
  });

test('a limit that stands twice, or is spelled so that only some would read it, gets nobody more', async (t) => {
  const bodies: string[] = [];
  await using raw = await startRaw((_, body, response) => {
    bodies.push(body);
    response.setHeader('content-type', 'application/json').end('{"choices":[{"finish_reason":"stop"}]}');
  });
  await using proxy = await startHttpProxy('openai', { script, environment: { ...environment, ...raw.environment } });
  const base = JSON.stringify(chatBody).slice(1);
  for (const twice of ['"max_tokens":90000,"max_tokens":5,', '"max_tokens":90000,"max\\u005ftokens":5,']) {
    t.is((await proxy.post('/v1/chat/completions', `{${twice}${base}`)).status, 200);
    t.deepEqual(JSON.parse(bodies.at(-1) ?? ''), { max_tokens: 5, ...chatBody });
    t.false(bodies.at(-1)?.includes('90000'));
  }
  for (const odd of ['"Max_Tokens":90000', '"max_tokens":"90000"', '"max_tokens":-1', '"n":"9"', '"n":100000']) {
    const refused = await proxy.post('/v1/chat/completions', `{${odd},${base}`);
    t.is(refused.status, 400, odd);
    t.regex(await refused.text(), /"param":"(Max_Tokens|max_tokens|n)"/);
  }
  t.is(bodies.length, 2);
  t.is((await proxy.post('/v1/chat/completions', `{"n":4,${base}`)).status, 200);
  t.like(JSON.parse(bodies.at(-1) ?? ''), { n: 4, max_tokens: limit / 4 });
});
