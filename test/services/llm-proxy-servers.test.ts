import Anthropic from '@anthropic-ai/sdk';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import OpenAI from 'openai';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { endpointEntry, modelEntry, modelsFileIn, startModels } from '#test/helpers/models.ts';
import { turns } from '#test/helpers/servers-alike/script.ts';
import type { ServerAlike } from '#test/helpers/servers-alike/servers.ts';
import { serversAlike } from '#test/helpers/servers-alike/servers.ts';
import { startServerAlike } from '#test/helpers/servers-alike/start.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { startTranslator } from '#test/helpers/translator.ts';
import { callIdOf } from '../../services/llm-proxy/wires/openai-chat/call-id.ts';
import { openAiChat } from '../../services/llm-proxy/wires/wires.ts';

const model = 'a-model';
const parameters = { type: 'object' as const, properties: { path: { type: 'string' } } };
const names = ['read_file', 'list_files', 'write_file'];
const begin = 'Begin.';

/** What a client was told in one turn, in the same words for all of them. */
type Told = { text: string; calls: { id: string; name: string; args: unknown }[] };
/** One who goes on with a conversation: each call is answered with `of <id>`. */
type Client = () => Promise<Told>;

const resultOf = (id: string) => `of ${id}`;

/** The agent's loop: to the end, or to one turn too many. */
async function converse(t: ExecutionContext, next: Client): Promise<void> {
  const told: Told[] = [];
  do told.push(await next());
  while (told.length <= turns.length && (told.at(-1)?.calls.length ?? 0) > 0);
  t.deepEqual(
    told.map(({ text, calls }) => ({ text, calls: calls.map(({ name, args }) => ({ name, args })) })),
    turns.map(({ text, calls }) => ({ text, calls })),
  );
  const ids = told.flatMap(({ calls }) => calls.map(({ id }) => id));
  t.is(ids.length, 5);
  t.is(new Set(ids).size, 5, 'each call has an id of its own');
}

type Options = { apiKey: string; url: string; stream: boolean };

function chatClient({ apiKey, url, stream }: Options): Client {
  const client = new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0, logLevel: 'off' });
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: begin }];
  const tools = names.map((name) => ({ type: 'function' as const, function: { name, parameters } }));
  return async () => {
    const body = { model, messages, tools };
    const { choices } = stream
      ? await client.chat.completions.stream(body).finalChatCompletion()
      : await client.chat.completions.create(body);
    const message = choices[0]?.message;
    if (!message) throw new Error('there is no message');
    messages.push(message);
    const calls = (message.tool_calls ?? []).flatMap((call) => (call.type === 'function' ? [call] : []));
    for (const { id } of calls) messages.push({ role: 'tool', tool_call_id: id, content: resultOf(id) });
    return {
      text: message.content ?? '',
      calls: calls.map((call) => ({
        id: call.id,
        name: call.function.name,
        args: JSON.parse(call.function.arguments),
      })),
    };
  };
}

function responsesClient({ apiKey, url, stream }: Options): Client {
  const client = new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0, logLevel: 'off' });
  const input: OpenAI.Responses.ResponseInputItem[] = [{ role: 'user', content: begin }];
  const tools = names.map((name) => ({ type: 'function' as const, name, strict: null, parameters }));
  return async () => {
    const body = { model, input, tools, store: false };
    const { output, output_text } = stream
      ? await client.responses.stream(body).finalResponse()
      : await client.responses.create(body);
    const calls = output.flatMap((item) => (item.type === 'function_call' ? [item] : []));
    for (const item of output) if (item.type === 'message' || item.type === 'function_call') input.push(item);
    for (const { call_id } of calls) input.push({ type: 'function_call_output', call_id, output: resultOf(call_id) });
    return {
      text: output_text,
      calls: calls.map(({ call_id, name, arguments: args }) => ({ id: call_id, name, args: JSON.parse(args) })),
    };
  };
}

function messagesClient({ apiKey, url, stream }: Options): Client {
  const client = new Anthropic({ apiKey, baseURL: url, maxRetries: 0, logLevel: 'off' });
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: begin }];
  const tools = names.map((name) => ({ name, input_schema: parameters }));
  return async () => {
    const body = { model, max_tokens: 1_000, messages, tools };
    const { content } = stream ? await client.messages.stream(body).finalMessage() : await client.messages.create(body);
    const calls = content.flatMap((block) => (block.type === 'tool_use' ? [block] : []));
    messages.push({ role: 'assistant', content });
    if (calls.length > 0) {
      messages.push({
        role: 'user',
        content: calls.map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: resultOf(id) })),
      });
    }
    return {
      text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
      calls: calls.map(({ id, name, input }) => ({ id, name, args: input })),
    };
  };
}

const clients = { chat: chatClient, responses: responsesClient, messages: messagesClient };

/** What an llm-proxy in front of the server knows of its model. */
async function settingsFor({ traits = '' }: ServerAlike, server: { environment: object }, folder: { path: string }) {
  const file = await modelsFileIn(folder.path, `[[models]]\nid = "${model}"\nprovider = "openai"\n${traits}\n`);
  return { ...server.environment, MODELS_FILE: file };
}

for (const kind of serversAlike) {
  for (const stream of [true, false]) {
    const how = stream ? 'streamed' : 'whole';
    for (const [wire, open] of Object.entries(clients)) {
      test(`${kind.name}: five calls reach a client of ${wire} through the wires, ${how}`, async (t) => {
        // A client of OpenAI's wires does not give back thinking that it was not given.
        await using server = await startServerAlike(kind, { refuses: wire === 'messages' });
        await using translator = await startTranslator({ wire: openAiChat, url: server.url });
        await converse(t, open({ apiKey: 'k', url: translator.url, stream }));
      });
    }

    test(`${kind.name}: five calls reach a client of messages through port 4000, ${how}`, async (t) => {
      await using server = await startServerAlike(kind);
      await using folder = await temporaryFolder();
      const environment = await settingsFor(kind, server, folder);
      await using proxy = await startHttpProxy('openai', { script: () => ({}), environment });
      await converse(t, messagesClient({ apiKey: proxy.key.secret, url: proxy.url, stream }));
      const [last] = (await proxy.calls(turns.length)).slice(-1);
      t.is(last?.data.outcome, 'ok');
    });
  }

  test(`${kind.name}: five calls reach an agent over NATS`, async (t) => {
    await using server = await startServerAlike(kind);
    await using folder = await temporaryFolder();
    const environment = await settingsFor(kind, server, folder);
    await using proxy = await startHttpProxy('openai', { script: () => ({}), environment });
    await converse(t, agentOf(proxy));
  });
}

/** One who asks as the agents' runner does, which gives each call an id of its own. */
function agentOf({ ask }: Pick<Awaited<ReturnType<typeof startHttpProxy>>, 'ask'>): Client {
  const messages: ChatMessage[] = [{ role: 'user', text: begin }];
  const tools = names.map((name) => ({ name, description: '', inputSchema: parameters }));
  let turn = 0;
  return async () => {
    const { answer } = await ask({ model, system: 'Be short.', messages, tools });
    turn += 1;
    const toolCalls = answer.toolCalls.map((call, index) => ({ ...call, callId: `call_${turn}_${index + 1}` }));
    messages.push({ role: 'assistant', text: answer.text, toolCalls, reasoning: answer.reasoning });
    for (const { callId } of toolCalls) messages.push({ role: 'tool', callId, text: resultOf(callId), isError: false });
    return { text: answer.text, calls: toolCalls.map(({ callId, tool, args }) => ({ id: callId, name: tool, args })) };
  };
}

test('ids of calls that Mistral refuses are shortened, each to one of its own that stays the same', async (t) => {
  const traits = { call_ids: 'nine' } as const;
  const ids = ['call_1_1', 'call_1_2', 'toolu_01VpEmQkTqr6aB3cD4eF5gH6', 'fitsalready', 'x'.repeat(300), ''];
  const short = ids.map((id) => callIdOf(id, traits));
  for (const id of short) t.regex(id, /^[a-z0-9]{9}$/);
  t.is(new Set(short).size, ids.length);
  t.deepEqual(
    ids.map((id) => callIdOf(id, traits)),
    short,
  );
  t.is(callIdOf('AbC123xyZ', traits), 'AbC123xyZ');
  t.is(callIdOf('call_1_1'), 'call_1_1');
});

test("Mistral's own hosts take such ids alone, whatever the model, unless models.toml says otherwise", async (t) => {
  const entry = modelEntry('open', 'openai', 'endpoints = ["mistral"]\ncall_ids = "any"');
  const far =
    endpointEntry('mistral', '', 'https://api.mistral.ai/v1') +
    endpointEntry('near', '', 'https://api.mistral.ai.test/v1');
  await using system = await startModels(far + entry);
  const idsOf = (name: string) => system.models.targets(name)[0]?.traits.call_ids;
  t.deepEqual(['mistral/mistral-large', 'open', 'near/mistral-large'].map(idsOf), ['nine', 'any', undefined]);
});
