import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { ChatAnthropic } from '@langchain/anthropic';
import { type AIMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import {
  Agent,
  tool as agentsTool,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  Runner,
  run,
  setTracingDisabled,
} from '@openai/agents';
import { tool as aiTool, generateText, isStepCount, Output, streamText } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import type { Wire } from './provider.ts';
import { degrees } from './provider.ts';

/** Where the library is pointed: `url` without /v1. */
export type At = { url: string; key: string; model: string };

/** What came of a call; tokens as the library says them. */
export type Said = { text: string; inputTokens?: number | undefined; outputTokens?: number | undefined };

/** A library as somebody uses it who has read its first page. `retries` are the library's own, as they are by default. */
export type Library = {
  name: string;
  wire: Wire;
  text(at: At): Promise<Said>;
  stream(at: At): Promise<Said>;
  /** A conversation in which a tool is called for two towns at once. */
  tools(at: At): Promise<Said>;
  streamedTools(at: At): Promise<Said>;
  object(at: At): Promise<unknown>;
  /** The error's class, and the status that it says. */
  failure(at: At, text: string): Promise<string>;
};

const hello = 'Say hello.';
const weather = 'What is the weather in Oslo and Rome?';
const description = 'The degrees in a town.';
const Town = z.object({ town: z.string() });
const Person = z.object({ name: z.string(), age: z.number() });
const asked = 'Who wrote the first program?';
const look = ({ town }: { town: string }) => `${town} has ${degrees[town]} degrees`;
const parameters = { type: 'object' as const, properties: { town: { type: 'string' } }, required: ['town'] };

setTracingDisabled(true);
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false });

const failureOf = async (call: () => Promise<unknown>): Promise<string> => {
  try {
    await call();
    return 'no error';
  } catch (thrown) {
    for (let error = thrown as Record<string, unknown> | undefined; error; error = error.cause as typeof error) {
      const last = (error.lastError ?? error) as Record<string, unknown>;
      const status = last.status ?? last.statusCode;
      if (status !== undefined) return `${(last.constructor as { name: string }).name} ${status}`;
    }
    return String(thrown);
  }
};

// openai 7.57.0

const openai = ({ url, key }: At) => new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const chatTools: OpenAI.Chat.ChatCompletionTool[] = [
  { type: 'function', function: { name: 'get_weather', description, parameters } },
];
const responsesTools: OpenAI.Responses.Tool[] = [
  { type: 'function', name: 'get_weather', description, parameters, strict: false },
];

const openaiChat: Library = {
  name: 'openai, chat completions',
  wire: 'chat',
  async text(at) {
    const messages = [{ role: 'user' as const, content: hello }];
    const { choices, usage } = await openai(at).chat.completions.create({ model: at.model, messages });
    return {
      text: choices[0]?.message.content ?? '',
      inputTokens: usage?.prompt_tokens,
      outputTokens: usage?.completion_tokens,
    };
  },
  async stream(at) {
    const runner = openai(at).chat.completions.stream({
      model: at.model,
      messages: [{ role: 'user', content: hello }],
      stream_options: { include_usage: true },
    });
    const { choices, usage } = await runner.finalChatCompletion();
    return {
      text: choices[0]?.message.content ?? '',
      inputTokens: usage?.prompt_tokens,
      outputTokens: usage?.completion_tokens,
    };
  },
  async tools(at) {
    const messages: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: 'user', content: weather }];
    for (let step = 0; step < 3; step++) {
      const { choices } = await openai(at).chat.completions.create({ model: at.model, messages, tools: chatTools });
      const message = choices[0]?.message;
      if (!message?.tool_calls) return { text: message?.content ?? '' };
      messages.push(message);
      for (const call of message.tool_calls)
        if (call.type === 'function')
          messages.push({
            ...{ role: 'tool', tool_call_id: call.id, content: look(JSON.parse(call.function.arguments)) },
          });
    }
    return { text: 'it went on' };
  },
  async streamedTools(at) {
    const runner = openai(at).chat.completions.runTools({
      model: at.model,
      messages: [{ role: 'user', content: weather }],
      stream: true,
      tools: [
        {
          type: 'function',
          function: { name: 'get_weather', description, parameters, parse: JSON.parse, function: look },
        },
      ],
    });
    return { text: (await runner.finalContent()) ?? '' };
  },
  async object(at) {
    const { choices } = await openai(at).chat.completions.parse({
      model: at.model,
      messages: [{ role: 'user', content: asked }],
      response_format: zodResponseFormat(Person, 'person'),
    });
    return choices[0]?.message.parsed;
  },
  failure: (at, content) =>
    failureOf(() =>
      openai(at).chat.completions.create({ model: at.model, messages: [{ role: 'user' as const, content }] }),
    ),
};

const openaiResponses: Library = {
  name: 'openai, responses',
  wire: 'responses',
  async text(at) {
    const { output_text, usage } = await openai(at).responses.create({ model: at.model, input: hello });
    return { text: output_text, inputTokens: usage?.input_tokens, outputTokens: usage?.output_tokens };
  },
  async stream(at) {
    const { output_text, usage } = await openai(at).responses.stream({ model: at.model, input: hello }).finalResponse();
    return { text: output_text, inputTokens: usage?.input_tokens, outputTokens: usage?.output_tokens };
  },
  async tools(at) {
    return converse((input) => openai(at).responses.create({ model: at.model, input, tools: responsesTools }));
  },
  async streamedTools(at) {
    return converse((input) =>
      openai(at).responses.stream({ model: at.model, input, tools: responsesTools }).finalResponse(),
    );
  },
  async object(at) {
    const { output_parsed } = await openai(at).responses.parse({
      model: at.model,
      input: asked,
      text: { format: zodTextFormat(Person, 'person') },
    });
    return output_parsed;
  },
  failure: (at, input) => failureOf(() => openai(at).responses.create({ model: at.model, input })),
};

async function converse(
  ask: (input: OpenAI.Responses.ResponseInput) => Promise<Pick<OpenAI.Responses.Response, 'output' | 'output_text'>>,
): Promise<Said> {
  const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: weather }];
  for (let step = 0; step < 3; step++) {
    const { output, output_text } = await ask(input);
    const calls = output.filter((item) => item.type === 'function_call');
    if (calls.length === 0) return { text: output_text };
    for (const item of output) if (item.type === 'message' || item.type === 'function_call') input.push(item);
    for (const { call_id, arguments: args } of calls)
      input.push({ type: 'function_call_output', call_id, output: look(JSON.parse(args)) });
  }
  return { text: 'it went on' };
}

// @anthropic-ai/sdk 1.12.0

const anthropic = ({ url, key }: At) => new Anthropic({ apiKey: key, baseURL: url, maxRetries: 0 });
const max_tokens = 1_000;
const sayAnthropic = ({ content, usage }: Anthropic.Message): Said => ({
  text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
  inputTokens: usage.input_tokens + (usage.cache_read_input_tokens ?? 0),
  outputTokens: usage.output_tokens,
});

const anthropicSdk: Library = {
  name: '@anthropic-ai/sdk',
  wire: 'messages',
  text: async (at) =>
    sayAnthropic(
      await anthropic(at).messages.create({
        ...{ model: at.model, max_tokens, messages: [{ role: 'user', content: hello }] },
      }),
    ),
  stream: async (at) =>
    sayAnthropic(
      await anthropic(at)
        .messages.stream({ model: at.model, max_tokens, messages: [{ role: 'user', content: hello }] })
        .finalMessage(),
    ),
  async tools(at) {
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: weather }];
    const tools = [{ name: 'get_weather', description, input_schema: parameters }];
    for (let step = 0; step < 3; step++) {
      const message = await anthropic(at).messages.create({ model: at.model, max_tokens, messages, tools });
      if (message.stop_reason !== 'tool_use') return sayAnthropic(message);
      const content = message.content.flatMap((block) =>
        block.type === 'tool_use'
          ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: look(Town.parse(block.input)) }]
          : [],
      );
      messages.push({ role: 'assistant', content: message.content }, { role: 'user', content });
    }
    return { text: 'it went on' };
  },
  async streamedTools(at) {
    const runner = anthropic(at).beta.messages.toolRunner({
      ...{ model: at.model, max_tokens, stream: true, messages: [{ role: 'user', content: weather }] },
      tools: [betaZodTool({ name: 'get_weather', description, inputSchema: Town, run: look })],
    });
    const { content } = await runner.runUntilDone();
    return { text: content.map((block) => (block.type === 'text' ? block.text : '')).join('') };
  },
  async object(at) {
    const { parsed_output } = await anthropic(at).messages.parse({
      ...{ model: at.model, max_tokens, messages: [{ role: 'user', content: asked }] },
      output_config: { format: zodOutputFormat(Person) },
    });
    return parsed_output;
  },
  failure: (at, content) =>
    failureOf(() =>
      anthropic(at).messages.create({ model: at.model, max_tokens, messages: [{ role: 'user', content }] }),
    ),
};

// ai 7.0.173, @ai-sdk/openai 4.0.118, @ai-sdk/anthropic 4.0.105

type AiModel = Parameters<typeof generateText>[0]['model'];
const aiTools = { get_weather: aiTool({ description, inputSchema: Town, execute: async (town) => look(town) }) };

type AiOptions = { providerOptions?: NonNullable<Parameters<typeof generateText>[0]['providerOptions']> };

const aiLibrary = (name: string, wire: Wire, model: (at: At) => AiModel, options: AiOptions = {}): Library => ({
  name,
  wire,
  async text(at) {
    const { text, usage } = await generateText({ model: model(at), prompt: hello, maxRetries: 0, ...options });
    return { text, inputTokens: usage.inputTokens, outputTokens: usage.outputTokens };
  },
  async stream(at) {
    const result = streamText({
      ...{ model: model(at), prompt: hello, maxRetries: 0, ...options },
      onError: () => undefined,
    });
    const [text, usage] = [await result.text, await result.usage];
    return { text, inputTokens: usage.inputTokens, outputTokens: usage.outputTokens };
  },
  async tools(at) {
    const { text } = await generateText({
      ...{ model: model(at), prompt: weather, tools: aiTools, maxRetries: 0, ...options, stopWhen: isStepCount(3) },
    });
    return { text };
  },
  async streamedTools(at) {
    const result = streamText({
      ...{ model: model(at), prompt: weather, tools: aiTools, maxRetries: 0, ...options, stopWhen: isStepCount(3) },
      onError: () => undefined,
    });
    return { text: await result.text };
  },
  async object(at) {
    const { output } = await generateText({
      ...{ model: model(at), prompt: asked, maxRetries: 0, ...options, output: Output.object({ schema: Person }) },
    });
    return output;
  },
  failure: (at, prompt) => failureOf(() => generateText({ model: model(at), prompt, maxRetries: 0, ...options })),
});

const aiLibraries = [
  aiLibrary('ai, openai (responses)', 'responses', ({ url, key, model }) =>
    createOpenAI({ baseURL: `${url}/v1`, apiKey: key })(model),
  ),
  aiLibrary(
    'ai, openai, store: false',
    'responses',
    ({ url, key, model }) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key })(model),
    { providerOptions: { openai: { store: false } } },
  ),
  aiLibrary('ai, openai.chat', 'chat', ({ url, key, model }) =>
    createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat(model),
  ),
  aiLibrary('ai, anthropic', 'messages', ({ url, key, model }) =>
    createAnthropic({ baseURL: `${url}/v1`, apiKey: key })(model),
  ),
];

// @langchain/core 1.4.0, @langchain/openai 1.6.0, @langchain/anthropic 1.5.11

const langchainTools = [
  langchainTool(async (town: { town: string }) => look(town), { name: 'get_weather', description, schema: Town }),
];

type Chat = ChatOpenAI | ChatAnthropic;
const sayLangchain = ({ text, usage_metadata: usage }: Pick<AIMessage, 'text' | 'usage_metadata'>): Said => ({
  ...{ text, inputTokens: usage?.input_tokens, outputTokens: usage?.output_tokens },
});

async function converseLangchain(ask: (messages: (HumanMessage | AIMessage | ToolMessage)[]) => Promise<AIMessage>) {
  const messages: (HumanMessage | AIMessage | ToolMessage)[] = [new HumanMessage(weather)];
  for (let step = 0; step < 3; step++) {
    const message = await ask(messages);
    if (!message.tool_calls?.length) return { text: message.text };
    messages.push(message);
    for (const { id = '', args } of message.tool_calls)
      messages.push(new ToolMessage({ tool_call_id: id, content: look(Town.parse(args)) }));
  }
  return { text: 'it went on' };
}

async function gather(chunks: AsyncIterable<AIMessage & { concat?: unknown }>): Promise<AIMessage> {
  let whole: { concat(next: unknown): typeof whole } | undefined;
  for await (const chunk of chunks) {
    const next = chunk as unknown as NonNullable<typeof whole>;
    whole = whole ? whole.concat(next) : next;
  }
  return whole as unknown as AIMessage;
}

const langchain = (name: string, wire: Wire, model: (at: At) => Chat): Library => ({
  name,
  wire,
  text: async (at) => sayLangchain(await model(at).invoke(hello)),
  stream: async (at) => sayLangchain(await gather(await model(at).stream(hello))),
  async tools(at) {
    const bound = model(at).bindTools(langchainTools);
    return converseLangchain((messages) => bound.invoke(messages));
  },
  async streamedTools(at) {
    const bound = model(at).bindTools(langchainTools);
    return converseLangchain(async (messages) => gather(await bound.stream(messages)));
  },
  object: (at) => model(at).withStructuredOutput(Person).invoke(asked),
  failure: (at, text) => failureOf(() => model(at).invoke(text)),
});

const langchainLibraries = [
  langchain(
    'langchain, ChatOpenAI',
    'chat',
    ({ url, key, model }) =>
      new ChatOpenAI({ model, apiKey: key, maxRetries: 0, configuration: { baseURL: `${url}/v1` } }),
  ),
  langchain(
    'langchain, ChatOpenAI (responses)',
    'responses',
    ({ url, key, model }) =>
      new ChatOpenAI({
        ...{ model, apiKey: key, maxRetries: 0, useResponsesApi: true, configuration: { baseURL: `${url}/v1` } },
      }),
  ),
  langchain(
    'langchain, ChatAnthropic',
    'messages',
    ({ url, key, model }) => new ChatAnthropic({ model, apiKey: key, maxRetries: 0, anthropicApiUrl: url }),
  ),
];

// @openai/agents 0.20.0

const agentsLibrary = (name: string, wire: Wire, isResponses: boolean): Library => {
  const agent = (at: At, more: { tools?: boolean; outputType?: typeof Person } = {}) => {
    const client = openai(at) as unknown as ConstructorParameters<typeof OpenAIResponsesModel>[0];
    return new Agent({
      name: 'One',
      instructions: 'Answer.',
      model: isResponses
        ? new OpenAIResponsesModel(client, at.model)
        : new OpenAIChatCompletionsModel(client, at.model),
      tools: more.tools ? [agentsTool({ name: 'get_weather', description, parameters: Town, execute: look })] : [],
      ...(more.outputType ? { outputType: more.outputType } : {}),
    });
  };
  const streamed = async (one: ReturnType<typeof agent>, text: string) => {
    const result = await run(one, text, { stream: true });
    for await (const _ of result);
    await result.completed;
    return result;
  };
  const say = ({
    finalOutput,
    rawResponses,
  }: {
    finalOutput?: unknown;
    rawResponses: { usage: { inputTokens: number; outputTokens: number } }[];
  }): Said => ({
    text: String(finalOutput),
    inputTokens: rawResponses[0]?.usage.inputTokens,
    outputTokens: rawResponses[0]?.usage.outputTokens,
  });
  return {
    name,
    wire,
    text: async (at) => say(await run(agent(at), hello)),
    stream: async (at) => say(await streamed(agent(at), hello)),
    tools: async (at) => ({ text: String((await run(agent(at, { tools: true }), weather)).finalOutput) }),
    streamedTools: async (at) => ({ text: String((await streamed(agent(at, { tools: true }), weather)).finalOutput) }),
    object: async (at) => (await new Runner().run(agent(at, { outputType: Person }), asked)).finalOutput,
    failure: (at, text) => failureOf(() => run(agent(at), text)),
  };
};

export const libraries: readonly Library[] = [
  openaiChat,
  openaiResponses,
  anthropicSdk,
  ...aiLibraries,
  ...langchainLibraries,
  agentsLibrary('@openai/agents (responses)', 'responses', true),
  agentsLibrary('@openai/agents (chat)', 'chat', false),
];
