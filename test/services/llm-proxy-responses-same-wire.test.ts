import test from 'ava';
import OpenAI from 'openai';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const path = '/v1/responses';
const model = 'gpt-6.1-terra';
const user = (content: string) => ({ role: 'user' as const, content });
const refer = (id: string) => ({ type: 'item_reference' as const, id });
const result = { type: 'function_call_output' as const, call_id: 'call_1', output: 'gone' };

type Item = Record<string, unknown>;

/** Its ids are OpenAI's own, of which each is another thing's. */
const outputOf = (turn: number, thought: string | null): Item[] => [
  { id: `rs_${turn}a7`, type: 'reasoning', summary: [], encrypted_content: thought },
  {
    ...{ id: `msg_${turn}b8`, type: 'message', role: 'assistant', status: 'completed' },
    content: [{ type: 'output_text', text: `Answer ${turn}.`, annotations: [], logprobs: [] }],
  },
  {
    id: `fc_${turn}c9`,
    type: 'function_call',
    call_id: `call_${turn}`,
    name: 'go',
    arguments: '{}',
    status: 'completed',
  },
];
const bare = (turn: number, thought: string | null): Item[] =>
  outputOf(turn, thought)
    .filter(({ type, encrypted_content }) => type !== 'reasoning' || encrypted_content !== null)
    .map(({ id: _, ...item }) => item);

/** OpenAI's responses, which refuse what their documentation says that is refused without a store; `bodies`: as they came. */
async function start({ thought = null as string | null, change = (_: Item): Item => ({}) } = {}) {
  const bodies: Item[] = [];
  const texts: string[] = [];
  let turn = 0;
  const raw = await startRaw((_, text, response) => {
    const body: Item = JSON.parse(text);
    bodies.push(body);
    const wrong = refusalOf(Array.isArray(body.input) ? body.input : []);
    if (wrong) return void response.writeHead(400).end(JSON.stringify({ error: { message: wrong } }));
    turn += 1;
    const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
    const whole = { id: `resp_${turn}f0`, object: 'response', model, status: 'completed', error: null, usage };
    const answer = { ...whole, output: outputOf(turn, thought), ...change(body) };
    const first = { type: 'response.created', sequence_number: 0, response: { ...answer, output: [], usage: null } };
    const last = { type: 'response.completed', sequence_number: 1, response: answer };
    const events = [first, last].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
    texts.push(body.stream ? events : JSON.stringify(answer));
    response.setHeader('content-type', body.stream ? 'text/event-stream' : 'application/json').end(texts.at(-1));
  });
  const proxy = await startHttpProxy('openai', { script: () => ({ text: '' }), environment: raw.environment });
  return {
    ...{ bodies, texts, proxy },
    ask: (body: object, secret = proxy.key.secret) =>
      proxy.post(path, { model, ...body }, { authorization: `Bearer ${secret}` }),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await raw[Symbol.asyncDispose]();
    },
  };
}

function refusalOf(input: Item[]): string | undefined {
  const lost = input.find(
    ({ type, encrypted_content }) => type === 'item_reference' || (type === 'reasoning' && !encrypted_content),
  );
  if (lost) return `Item with id '${lost.id}' not found.`;
  const orphan = input.find(({ type, id }) => type === 'function_call' && id !== undefined);
  const isAlone = orphan && !input.some(({ type }) => type === 'reasoning');
  return isAlone
    ? `Item '${orphan.id}' of type 'function_call' was provided without its required 'reasoning' item`
    : undefined;
}

for (const stream of [false, true])
  for (const thought of [null, 'gAAAsealed'])
    test(`what OpenAI answered is kept, too: ${stream ? 'streamed' : 'whole'}, ${thought ? 'with' : 'without'} sealed thinking`, async (t) => {
      await using openai = await start({ thought });
      const { ask, bodies, texts } = openai;
      const first = await ask({ input: 'Hi', stream });
      t.is(await first.text(), texts[0] ?? '', 'it passes byte for byte');
      const all = [refer('rs_1a7'), refer('msg_1b8'), refer('fc_1c9')];
      const second = await ask({ input: [user('Hi'), ...all, result], stream });
      t.is(second.status, 200, await second.text());
      t.deepEqual(bodies.at(-1)?.input, [user('Hi'), ...bare(1, thought), result]);
      const third = await ask({ input: 'And?', previous_response_id: 'resp_2f0' });
      t.is(third.status, 200, await third.text());
      t.deepEqual(bodies.at(-1)?.input, [user('Hi'), ...bare(1, thought), result, ...bare(2, thought), user('And?')]);
      t.is(bodies.at(-1)?.previous_response_id, undefined);
    });

test('an item without its id and thinking that is given back without its seal, as the SDK has it', async (t) => {
  await using openai = await start();
  const client = new OpenAI({ apiKey: openai.proxy.key.secret, baseURL: `${openai.proxy.url}/v1`, maxRetries: 0 });
  const { output } = await client.responses.create({ model, input: 'Hi' });
  const input = [user('Hi'), ...output, result] as OpenAI.Responses.ResponseInputItem[];
  await client.responses.create({ model, input });
  t.deepEqual(openai.bodies.at(-1)?.input, [user('Hi'), ...bare(1, null), result]);
});

test('a request that refers to nothing passes as it is, ids and all', async (t) => {
  await using openai = await start({ thought: 'gAAAsealed' });
  await openai.ask({ input: 'Hi' });
  const body = { model, max_output_tokens: 100, input: [user('Hi'), ...outputOf(1, 'gAAAsealed'), result] };
  t.is((await openai.ask(body)).status, 200);
  t.deepEqual(openai.bodies.at(-1), body);
});

test('nobody refers to what another key was answered, to what was not to be kept, or to what failed', async (t) => {
  await using openai = await start({
    change: ({ input }) =>
      input === 'Fail' ? { status: 'failed', error: { code: 'server_error', message: 'no' } } : {},
  });
  const other = await openai.proxy.mint({ name: 'other' });
  await openai.ask({ input: 'Mine' });
  await openai.ask({ input: 'Not kept', store: false });
  await openai.ask({ input: 'Fail' });
  const asked = openai.bodies.length;
  const refused: [object, string?][] = [
    [{ input: [user('a'), refer('msg_1b8')] }, other.secret],
    [{ input: [user('a'), { id: 'rs_1a7', type: 'reasoning', summary: [] }] }, other.secret],
    [{ input: 'a', previous_response_id: 'resp_1f0' }, other.secret],
    [{ input: [user('a'), refer('msg_2b8')] }],
    [{ input: [user('a'), refer('msg_1b8'), refer('msg_2b8')] }],
    [{ input: 'a', previous_response_id: 'resp_2f0' }],
    [{ input: [user('a'), refer('msg_3b8')] }],
    [{ input: [user('a'), refer('bytes')] }],
  ];
  for (const [body, secret] of refused) {
    const answer = await openai.ask(body, secret);
    t.is(answer.status, 400, JSON.stringify(body));
    t.regex(await answer.text(), /(input\.\d|previous_response_id).*store: false/);
  }
  t.is(openai.bodies.length, asked);
  t.is((await openai.ask({ input: [user('a'), refer('msg_1b8')] })).status, 200);
});

test('an answer that is too long or is no answer is not kept, and passes all the same', async (t) => {
  const outputs: unknown[] = [
    [
      {
        id: 'msg_long',
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'x'.repeat(1_100_000) }],
      },
    ],
    'none',
    [null, { type: 'message' }, { id: 'm'.repeat(300) }, { id: 7 }],
  ];
  let turn = -1;
  await using openai = await start({
    change: () => {
      turn += 1;
      return { output: outputs[turn] ?? [] };
    },
  });
  for (const [at] of outputs.entries()) {
    const answer = await openai.ask({ input: 'Hi', stream: true });
    t.is(await answer.text(), openai.texts[at] ?? '');
  }
  t.is((await openai.ask({ input: [user('a'), refer('msg_long')] })).status, 400);
  t.is((await openai.ask({ input: 'a', previous_response_id: 'resp_2f0' })).status, 400);
  t.is((await openai.ask({ input: 'Hi' })).status, 200);
});
