import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ToolOffer } from '#shared/contracts/llm.ts';
import { readSettings } from '#shared/settings.ts';
import { modelsFileIn } from '#test/helpers/models.ts';
import { keyOfTests, readSample, startProxySystem, wires } from '#test/helpers/proxy.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

import { Config } from '../../services/llm-proxy/config.ts';
import { providerOf } from '../../services/llm-proxy/models/endpoints.ts';

const offer = (name: string): ToolOffer => ({
  name,
  description: `Does ${name}`,
  inputSchema: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
});

const modelsFile = `
[[models]]
id = "priced"
provider = "anthropic"
input_usd_per_mtok = 3
cached_input_usd_per_mtok = 0.3
output_usd_per_mtok = 15
prompt_tokens_max = 1000

[[models]]
id = "priced"
provider = "openai"
input_usd_per_mtok = 3
cached_input_usd_per_mtok = 0.3
output_usd_per_mtok = 15
prompt_tokens_max = 1000

[[models]]
id = "particular"
provider = "anthropic"
input_usd_per_mtok = 0
cached_input_usd_per_mtok = 0
output_usd_per_mtok = 0
forced_tools = false
temperature = false

[[models]]
id = "particular"
provider = "openai"
input_usd_per_mtok = 0
cached_input_usd_per_mtok = 0
output_usd_per_mtok = 0
temperature = false
tools_reasoning_effort = "none"
`;

const modelsIn = (folder: string) => modelsFileIn(folder, modelsFile);

for (const wire of wires) {
  test(`${wire}: a text comes back whole, with its usage, its cost, its ledger event and its metrics`, async (t) => {
    await using folder = await temporaryFolder();
    await using system = await startProxySystem(wire, {
      script: () => ({
        text: 'All is well – 👍.',
        usage: { inputTokens: 100, outputTokens: 10, cachedInputTokens: 40 },
        model: 'priced-2026-01-02',
      }),
      environment: { MODELS_FILE: await modelsIn(folder.path), LLM_MODEL: 'priced' },
    });
    const { answer, facts } = await system.ask({ agentId: 'scout', runId: 'run_1', maxOutputTokens: 77 });
    t.deepEqual(answer, { text: 'All is well – 👍.', toolCalls: [], stopReason: 'end' });
    t.like(facts, {
      provider: wire,
      model: 'priced-2026-01-02',
      usage: { inputTokens: 100, outputTokens: 10, cachedInputTokens: 40 },
      cache: 'bypass',
    });
    const cost = (60 * 3 + 40 * 0.3 + 10 * 15) / 1e6;
    t.true(Math.abs((facts.costUsd ?? 0) - cost) < 1e-12);

    const [request] = system.fake.requests;
    t.is(request?.system, 'You are terse.');
    t.is(request?.model, 'priced');
    t.true(request?.stream);
    t.is(request?.body.max_tokens, 77);
    t.is(request?.headers.authorization, `Bearer ${keyOfTests}`);

    const events = await system.ledger();
    t.is(events.length, 1);
    t.like(events[0], { type: 'toka.llm.called.v1', subject: 'llm/internal', correlationid: 'run_1' });
    t.deepEqual(events[0]?.data, {
      ...{ ...facts, key: 'internal', agentId: 'scout', runId: 'run_1', outcome: 'ok' },
      ...{ workstream: null, requestModel: 'priced' },
    });

    t.is(await system.metric('llm_requests_total{'), 1);
    const labels = ['gen_ai_request_model="priced"', 'gen_ai_token_type="cached-input"'];
    t.is(await readSample(system, 'gen_ai_client_token_usage_sum', ...labels), 40);
    t.is(await system.metric('llm_cost_usd_total{'), facts.costUsd ?? undefined);
    t.is(await system.metric('llm_rate_limit_remaining{'), 99);
  });

  test(`${wire}: tools are offered, called in parallel, and their results and errors go back`, async (t) => {
    await using system = await startProxySystem(wire, {
      script: ({ turns }) =>
        turns === 0
          ? {
              text: 'Let me look.',
              toolCalls: [
                { tool: 'read_file', args: { path: 'a "quoted" näme.md', depth: { levels: [1, 2] } } },
                { tool: 'list_files', raw: '' },
              ],
            }
          : { text: 'Seen.' },
    });
    const tools = [offer('read_file'), offer('list_files')];
    const first = await system.ask({ tools });
    t.is(first.answer.stopReason, 'tool-calls');
    t.is(first.answer.text, 'Let me look.');
    t.deepEqual(
      first.answer.toolCalls.map(({ tool, args }) => [tool, args]),
      [
        ['read_file', { path: 'a "quoted" näme.md', depth: { levels: [1, 2] } }],
        ['list_files', {}],
      ],
    );
    t.deepEqual(system.fake.requests[0]?.tools, { read_file: ['path'], list_files: ['path'] });
    t.is(system.fake.requests[0]?.forced, undefined);

    const toolCalls = first.answer.toolCalls.map((call, index) => ({ ...call, callId: `call_1_${index + 1}` }));
    const second = await system.ask({
      tools,
      messages: [
        { role: 'user', text: 'Hello?' },
        { role: 'assistant', text: first.answer.text, toolCalls },
        { role: 'tool', callId: 'call_1_1', text: '# A file', isError: false },
        { role: 'tool', callId: 'call_1_2', text: 'no such folder', isError: true },
        { role: 'user', text: 'Go on.' },
      ],
    });
    t.is(second.answer.text, 'Seen.');
    const said = system.fake.requests[1]?.messages ?? [];
    t.deepEqual(
      said.map(({ role, isError, tools: called }) => [role, isError, called.length]),
      [
        ['user', false, 0],
        ['assistant', false, 2],
        ['tool', false, 0],
        ['tool', true, 0],
        ['user', false, 0],
      ],
    );
    t.regex(said[3]?.text ?? '', /no such folder$/);
  });

  test(`${wire}: a tool is forced by the wire, or in words where the model refuses that`, async (t) => {
    await using folder = await temporaryFolder();
    await using system = await startProxySystem(wire, {
      script: () => ({ toolCalls: [{ tool: 'verdict', args: { pass: true } }] }),
      environment: { MODELS_FILE: await modelsIn(folder.path), LLM_MODEL: 'any-model' },
    });
    const forced = { tools: [offer('verdict')], toolChoice: { name: 'verdict' }, temperature: 0.5 };
    const { answer } = await system.ask(forced);
    t.is(answer.stopReason, 'tool-calls');
    t.deepEqual(answer.toolCalls[0]?.args, { pass: true });
    t.is(system.fake.requests[0]?.forced, 'verdict');
    t.is(system.fake.requests[0]?.body.temperature, 0.5);

    await system.ask({ ...forced, model: 'particular' });
    const request = system.fake.requests[1];
    t.false('temperature' in (request?.body ?? {}));
    if (wire === 'anthropic') {
      t.is(request?.forced, undefined);
      t.regex(request?.messages.at(-1)?.text ?? '', /"verdict"/);
    } else {
      t.is(request?.forced, 'verdict');
      t.is(request?.body.reasoning_effort, 'none');
    }
    await t.throwsAsync(system.ask({ toolChoice: { name: 'verdict' } }), {
      code: 'invalid',
      message: /none of the tools/,
    });
    t.is(system.fake.requests.length, 2);
  });

  test(`${wire}: the reasons for which a model stops are told apart`, async (t) => {
    await using system = await startProxySystem(wire, { script: () => ({}) });
    const reasons =
      wire === 'anthropic'
        ? { stop_sequence: 'end', max_tokens: 'length', refusal: 'refusal', model_context_window_exceeded: 'length' }
        : { stop: 'end', length: 'length', content_filter: 'refusal', 'something-new': 'end' };
    for (const [stopReason, expected] of Object.entries(reasons)) {
      system.fake.play(() => ({ text: 'So far', stopReason }));
      const { answer } = await system.ask();
      t.deepEqual(answer, { text: 'So far', toolCalls: [], stopReason: expected as typeof answer.stopReason });
    }
    const length = wire === 'anthropic' ? 'max_tokens' : 'length';
    system.fake.play(() => ({
      text: 'So',
      toolCalls: [{ tool: 'write_file', raw: '{"path": "a' }],
      stopReason: length,
    }));
    t.deepEqual((await system.ask({ tools: [offer('write_file')] })).answer, {
      text: 'So',
      toolCalls: [],
      stopReason: 'length',
    });
  });

  test(`${wire}: what a model costs whose price is not known is unknown, not nothing`, async (t) => {
    await using folder = await temporaryFolder();
    await using system = await startProxySystem(wire, {
      script: () => ({ text: 'Fine.', usage: { inputTokens: 1_001 } }),
      environment: { MODELS_FILE: await modelsIn(folder.path), LLM_MODEL: 'priced-mini' },
    });
    t.is((await system.ask()).facts.costUsd, null);
    t.is(await system.metric('llm_cost_unknown_total{'), 1);
    t.is((await system.ask({ model: 'priced' })).facts.costUsd, null, 'beyond the prompt that the price is for');
    t.is(await system.metric('llm_cost_usd_total{'), undefined);
    system.fake.play(() => ({ text: 'Fine.', usage: { inputTokens: -1 } }));
    const { costUsd, usage } = (await system.ask({ model: 'priced' })).facts;
    t.is(costUsd, null, 'a count that cannot be true is none');
    t.true(usage.inputTokens > 0, 'and is estimated');
  });
}

test('thinking goes back to Anthropic as it was and where it was, with the ids that the conversation has now', async (t) => {
  await using system = await startProxySystem('anthropic', {
    script: ({ turns }) =>
      turns === 0
        ? {
            thinking: 'Hm, a file.',
            text: 'Look:',
            toolCalls: [{ tool: 'read_file', args: { path: 'a' }, callId: 'toolu_1' }],
          }
        : { text: 'Seen.' },
  });
  const { answer } = await system.ask({ tools: [offer('read_file')] });
  t.is(answer.text, 'Look:');
  const toolCalls = answer.toolCalls.map((call) => ({ ...call, callId: 'call_1_1' }));
  await system.ask({
    tools: [offer('read_file')],
    messages: [
      { role: 'user', text: 'Hello?' },
      { role: 'assistant', text: answer.text, toolCalls, reasoning: answer.reasoning },
      { role: 'tool', callId: 'call_1_1', text: 'x', isError: false },
    ],
  });
  const messages = system.fake.requests[1]?.body.messages as { content: unknown }[];
  t.deepEqual(messages[1]?.content, [
    { type: 'thinking', thinking: 'Hm, a file.', signature: 'signed' },
    { type: 'text', text: 'Look:' },
    { type: 'tool_use', id: 'call_1_1', name: 'read_file', input: { path: 'a' } },
  ]);
});

test('a key is asked for unless the provider is somewhere else', (t) => {
  for (const [provider, key, url] of [
    ['anthropic', 'ANTHROPIC_API_KEY', 'ANTHROPIC_BASE_URL'],
    ['openai', 'OPENAI_API_KEY', 'OPENAI_BASE_URL'],
  ] as const) {
    const given = { CONFIG_FILE: 'none', LLM_PROVIDER: provider };
    t.throws(() => readSettings(Config, given), { message: `${key} is required and is not set` });
    t.is(readSettings(Config, { ...given, [url]: 'http://127.0.0.1:11434/v1' })[url], 'http://127.0.0.1:11434/v1');
    t.is(readSettings(Config, { ...given, [key]: 'sk-1234567' })[key], 'sk-1234567');
  }
  const chosen = (given: Record<string, string>) => providerOf(readSettings(Config, { CONFIG_FILE: 'none', ...given }));
  t.is(chosen({}), 'demo');
  t.is(chosen({ OPENAI_API_KEY: 'sk-1234567' }), 'openai');
  t.is(chosen({ OPENAI_API_KEY: 'sk-1234567', ANTHROPIC_API_KEY: 'sk-1234567' }), 'anthropic');
  t.is(chosen({ OPENAI_API_KEY: 'sk-1234567', LLM_PROVIDER: 'demo' }), 'demo');
});

test('a models.toml that is wrong says where, and nothing starts', async (t) => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'models.toml');
  const start = () => startProxySystem('openai', { script: () => ({}), environment: { MODELS_FILE: file } });
  await t.throwsAsync(start, { code: 'invalid', message: /MODELS_FILE .*models\.toml cannot be read/ });
  await writeFile(file, '[[models]]\nid = "x"\nprovider = "openai"\ninput_usd_per_mtok = -1\n');
  await t.throwsAsync(start, {
    code: 'invalid',
    message: /models\[1\]\.input_usd_per_mtok: .*\n.*models\[1\]\.cached_input/,
  });
});

for (const wire of wires)
  test(`arguments that are no JSON object are a call that says so, not the end of the answer: ${wire}`, async (t) => {
    const script = () => ({
      toolCalls: [
        { tool: 'a', raw: '{"path": ' },
        { tool: 'b', raw: '[1]' },
        { tool: 'c', args: { x: 1 } },
      ],
    });
    await using system = await startProxySystem(wire, { script });
    const { answer } = await system.ask();
    t.deepEqual(
      answer.toolCalls.map(({ tool, args }) => [tool, args]),
      [
        ['a', {}],
        ['b', {}],
        ['c', { x: 1 }],
      ],
    );
    t.regex(answer.toolCalls[0]?.problem ?? '', /no JSON object: \{"path": $/);
    t.is(answer.toolCalls[2]?.problem, undefined);
  });

for (const wire of wires)
  test(`a picture in a tool's result reaches the model: ${wire}`, async (t) => {
    await using system = await startProxySystem(wire, { script: () => ({ text: 'seen' }) });
    const image = { mediaType: 'image/png' as const, base64: 'iVBORw0KGgo=' };
    await system.ask({
      messages: [
        { role: 'user', text: 'Look.' },
        { role: 'assistant', text: '', toolCalls: [{ callId: 'call_1', tool: 'look', args: {} }] },
        { role: 'tool', callId: 'call_1', text: 'dot.png', isError: false, image },
      ],
    });
    t.regex(system.fake.requests[0]?.conversation ?? '', /image\/png, 12 characters/);
  });
