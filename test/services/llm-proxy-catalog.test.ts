import { readFileSync } from 'node:fs';
import test from 'ava';
import { Failure } from '#shared/errors.ts';
import { refusalOfAnthropic } from '#test/helpers/anthropic-rules.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { refusalOfOpenAi, refusalOfResponses } from '#test/helpers/openai-rules.ts';
import { question, startProxySystem } from '#test/helpers/proxy.ts';
import { entriesOf } from '../../services/llm-proxy/models/names.ts';
import { parseModelsFile } from '../../services/llm-proxy/models/parse.ts';
import { createPricing } from '../../services/llm-proxy/models/price.ts';
import { fitToModel } from '../../services/llm-proxy/wires/fit-to-model.ts';
import type { JsonObject } from '../../services/llm-proxy/wires/pivot.ts';
import { efforts } from '../../services/llm-proxy/wires/pivot.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const modelsFile = 'config/models.toml';
const listed = parseModelsFile(readFileSync(modelsFile, 'utf8'), () => []).file?.models ?? [];
type Listed = (typeof listed)[number];
const chats = listed.filter(({ id, provider }) => provider !== 'demo' && !id.startsWith('text-embedding'));

// Agents' command lines and libraries ask for these where their user names none (their releases of 2026-11-29), and we do.
const askedByDefault = [
  ...['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5', 'claude-fable-5-2', 'claude-haiku-4-5-20251001'],
  ...['gpt-6.1-sol', 'gpt-6.1-terra', 'gpt-5.4-nano', 'gpt-4.1', 'gpt-4o', 'gpt-4o-mini'],
];

for (const name of askedByDefault) {
  test(`${name}, which is asked for by default, has prices and limits`, (t) => {
    const [entry] = entriesOf(listed, name);
    t.true((createPricing(entry).estimateCost(1_000, 1_000) ?? 0) > 0);
    t.true((entry?.max_output_tokens ?? 0) > 0);
    t.true((entry?.context_window ?? 0) >= (entry?.max_output_tokens ?? 0));
  });
}

test('every model that can be talked to says what it takes and how much', (t) => {
  t.true(chats.length > 40);
  for (const { id, efforts, context_window, max_output_tokens } of chats) {
    t.truthy(efforts, `${id} has no efforts`);
    t.truthy(context_window, `${id} has no context_window`);
    t.truthy(max_output_tokens, `${id} has no max_output_tokens`);
  }
});

const schema = {
  type: 'object',
  properties: { at: { type: 'string' } },
  required: ['at'],
  additionalProperties: false,
};
const look = { type: 'function', function: { name: 'look', description: 'Looks.', parameters: schema, strict: true } };
const user = (content: string) => ({ role: 'user', content });
const middle = [user('a'), { role: 'assistant', content: 'b' }, { role: 'system', content: 'French.' }, user('c')];

/** What a client of chat completions may ask of a model, by the feature that some model refuses. */
const features: Record<string, JsonObject> = {
  'a word': {},
  temperature: { temperature: 0.5 },
  top_p: { top_p: 0.9 },
  'both of them': { temperature: 0.5, top_p: 0.9 },
  ...Object.fromEntries(efforts.map((effort) => [`the effort ${effort}`, { reasoning_effort: effort }])),
  'more tokens than there are': { max_completion_tokens: 1_000_000 },
  'a system message in the middle': { messages: middle },
  'a schema': { response_format: { type: 'json_schema', json_schema: { name: 'place', schema, strict: true } } },
};
const withTools: Record<string, JsonObject> = {
  'a tool': {},
  'a forced tool': { tool_choice: { type: 'function', function: { name: 'look' } } },
  'some tool': { tool_choice: 'required' },
  ...Object.fromEntries(efforts.map((effort) => [`a tool at the effort ${effort}`, { reasoning_effort: effort }])),
};
const asked: [string, JsonObject][] = [
  ...Object.entries(features),
  ...Object.entries(withTools).map(([name, fields]): [string, JsonObject] => [name, { tools: [look], ...fields }]),
];
const wires = { anthropic, openai: openAiChat, demo: openAiChat };
const refusals = { anthropic: refusalOfAnthropic, openai: refusalOfOpenAi, demo: () => undefined };

/** Whether a server that speaks chat completions alone cannot be asked for it. */
const isRefused = ({ responses_only: only, tools_reasoning_effort }: Listed, hasTools: boolean) =>
  only === 'all' || (only === 'tools' && hasTools && tools_reasoning_effort === undefined);

for (const entry of chats) {
  test(`${entry.id} takes what it is sent, whatever was asked`, (t) => {
    const { id, provider, responses_only } = entry;
    const maxTokensDefault = entry.max_output_tokens ?? 0;
    for (const [feature, fields] of asked) {
      const request = openAiChat.readRequest({ model: id, messages: [user('Hi.')], ...fields });
      const bounded = { ...request, maxTokens: Math.min(request.maxTokens ?? maxTokensDefault, maxTokensDefault) };
      const write = () =>
        wires[provider].writeRequest(fitToModel(bounded, entry), { model: id, maxTokensDefault, traits: entry });
      if (isRefused(entry, request.tools.length > 0)) {
        const error = t.throws(write, { instanceOf: Failure }, feature);
        t.like(
          error,
          { code: 'invalid', problems: [{ field: responses_only === 'all' ? 'model' : 'tools' }] },
          feature,
        );
      } else t.is(refusals[provider](write()), undefined, feature);
    }
  });
}

for (const entry of chats.filter((each) => each.responses_only)) {
  test(`${entry.id} takes what it is sent by OpenAI’s responses, whatever was asked`, (t) => {
    const { tools_reasoning_effort: _, ...traits } = entry;
    for (const [feature, fields] of asked) {
      const request = openAiChat.readRequest({ model: entry.id, messages: [user('Hi.')], ...fields });
      const options = { model: entry.id, maxTokensDefault: 9, traits };
      const body = openAiResponses.writeRequest(fitToModel(request, traits), options);
      t.is(refusalOfResponses(body), undefined, feature);
    }
  });
}

test('an order not to think is kept by the models that can be told so', (t) => {
  const request = openAiResponses.readRequest({ model: 'm', input: 'Hi.', reasoning: { effort: 'none' } });
  const thinkings = chats.flatMap((entry) => {
    const { id, provider } = entry;
    if (provider !== 'anthropic') return [];
    const body = anthropic.writeRequest(fitToModel(request, entry), { model: id, maxTokensDefault: 9, traits: entry });
    return [[id, body.thinking]];
  });
  t.like(Object.fromEntries(thinkings), {
    'claude-opus-5-5': undefined,
    'claude-opus-5': { type: 'disabled' },
    'claude-sonnet-5-5': { type: 'between_tools' },
    'claude-haiku-5-5': { type: 'disabled' },
    'claude-fable-5-2': undefined,
    'claude-fable-5': undefined,
  });
});

for (const wire of ['anthropic', 'openai'] as const) {
  test(`${wire}: our own agents’ calls are taken by every model, or refused before they are sent`, async (t) => {
    await using system = await startProxySystem(wire, {
      script: ({ body }) => {
        const message = refusals[wire](body);
        return message === undefined ? { text: 'Yes.' } : { status: 400, message };
      },
      environment: { MODELS_FILE: modelsFile },
    });
    const tools = [{ name: 'look', description: 'Looks.', inputSchema: schema }];
    for (const entry of chats) {
      const { id, provider } = entry;
      if (provider !== wire) continue;
      const bare = { ...question('Hi.'), model: id, temperature: 0.5 };
      const forced = { ...bare, tools, toolChoice: { name: 'look' } };
      for (const input of [bare, { ...bare, tools }, forced]) {
        if (isRefused(entry, 'tools' in input))
          await t.throwsAsync(system.ask(input), { code: 'invalid', message: /responses API alone/ }, id);
        else t.is((await system.ask(input)).answer.text, 'Yes.', id);
      }
    }
  });
}

test('tools for a model that takes them by the responses API alone are refused by field where nothing else is known of the server', async (t) => {
  await using system = await startHttpProxy('openai', {
    script: () => ({ text: 'Yes.' }),
    environment: { MODELS_FILE: modelsFile },
  });
  const tool = { name: 'look', input_schema: schema };
  const body = { model: 'gpt-6.1-sol', max_tokens: 9, messages: [user('Hi.')] };
  t.is((await system.post('/v1/messages', body)).status, 200);
  for (const [model, more, field] of [
    ['gpt-6.1-sol', { tools: [tool] }, 'tools'],
    ['gpt-5.3-codex', {}, 'model'],
  ] as const) {
    const refused = await system.post('/v1/messages', { ...body, model, ...more });
    t.is(refused.status, 400);
    t.regex(await refused.text(), new RegExp(`${field}: .* by /v1/responses`));
  }
  t.is(system.fake.requests.length, 1);
});
