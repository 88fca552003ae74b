import test from 'ava';
import fc from 'fast-check';
import type { ChatInput, ChatMessage, ChatResponse } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { wires } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { anyText, cut } from '#test/helpers/wire-arbitraries.ts';
import { collect } from '../../services/llm-proxy/wires/answers.ts';
import { createSseParser } from '../../services/llm-proxy/wires/sse.ts';
import { anthropic, openAiChat } from '../../services/llm-proxy/wires/wires.ts';

type Wire = (typeof wires)[number];
type Json = Record<string, unknown>;

/** An llm-proxy whose provider keeps what it was sent last, and answers with the given bytes, cut at the given places. */
async function setUp(wire: Wire) {
  await using stack = new AsyncDisposableStack();
  let sent: Json = {};
  let pieces: Buffer[] = [];
  const provider = stack.use(
    await startRaw((_, body, response) => {
      sent = JSON.parse(body);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const piece of pieces) response.write(piece);
      response.end();
    }),
  );
  const environment = { ...provider.environment, RATE_LIMIT_REQUESTS: '100000' };
  const proxy = stack.use(await startHttpProxy(wire, { script: () => ({}), environment }));
  const owned = stack.move();
  return {
    proxy,
    sent: () => sent,
    play: (bytes: Buffer, places: readonly number[] = []) => {
      pieces = cut(bytes, places);
    },
    /** The same as our own agents ask it, and as a client asks it who speaks the other wire. */
    askAsAgent: (input: ChatInput) => proxy.bus.ask(chat, input, { timeoutMs: 20_000 }),
    askAsClient: (body: Json) => proxy.post(wire === 'openai' ? '/v1/messages' : '/v1/chat/completions', body),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

// What is asked.

const visible = anyText.filter((text) => text.trim() !== '');
const name = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,20}$/);
const args = fc.dictionary(name, fc.oneof(anyText, fc.integer(), fc.boolean(), fc.constant(null), fc.array(anyText)), {
  maxKeys: 4,
});
const image = fc.record({
  mediaType: fc.constantFrom('image/png' as const, 'image/webp' as const),
  base64: fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('base64')),
});

const rounds = (wire: Wire) =>
  fc.array(
    fc.record({
      text: anyText,
      calls: fc.array(
        fc.record({
          tool: name,
          args,
          result: anyText,
          // A client of OpenAI's chat has no words for these.
          isError: wire === 'openai' ? fc.boolean() : fc.constant(false),
          image: wire === 'openai' ? fc.option(image, { nil: undefined }) : fc.constant(undefined),
        }),
        { minLength: 1, maxLength: 3 },
      ),
      next: fc.option(visible, { nil: undefined }),
    }),
    { maxLength: 3 },
  );

/** Calls as our own agents make them. */
const anyCall = (wire: Wire) =>
  fc
    .record({
      system: fc.oneof(fc.constant(''), visible),
      first: visible,
      said: rounds(wire),
      tools: fc.uniqueArray(fc.record({ name, description: anyText }), { selector: (tool) => tool.name, maxLength: 3 }),
      temperature: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
      forced: fc.boolean(),
      maxOutputTokens: fc.integer({ min: 1, max: 9_000 }),
    })
    .map(({ first, said, tools, forced, temperature, ...rest }): ChatInput => {
      const [tool] = tools;
      return {
        ...rest,
        ...(temperature === undefined ? {} : { temperature }),
        model: 'a-model',
        cache: false,
        messages: [{ role: 'user', text: first }, ...said.flatMap(toMessages)],
        tools: tools.map((each) => ({
          ...each,
          inputSchema: { type: 'object', properties: { at: { type: 'string' } } },
        })),
        toolChoice: forced && tool ? { name: tool.name } : 'auto',
      };
    });

type Round = { text: string; calls: { tool: string; args: Json; result: string; isError: boolean; image: Picture }[] };
type Picture = { mediaType: 'image/png' | 'image/webp'; base64: string } | undefined;

function toMessages({ text, calls, next }: Round & { next: string | undefined }, round: number): ChatMessage[] {
  const named = calls.map((call, index) => ({ ...call, callId: `call_${round}_${index}` }));
  return [
    {
      role: 'assistant',
      text,
      toolCalls: named.map(({ callId, tool, args: given }) => ({ callId, tool, args: given })),
    },
    ...named.map(({ callId, result, isError, image: seen }): ChatMessage => {
      return { role: 'tool', callId, text: result, isError, ...(seen ? { image: seen } : {}) };
    }),
    ...(next === undefined ? [] : [{ role: 'user' as const, text: next }]),
  ];
}

/** The same in the words of a client of OpenAI's chat. */
const asChat = ({
  system,
  messages,
  tools = [],
  toolChoice,
  temperature,
  maxOutputTokens,
  model,
}: ChatInput): Json => ({
  model,
  stream: true,
  max_completion_tokens: maxOutputTokens,
  temperature,
  messages: [
    ...(system === '' ? [] : [{ role: 'system', content: system }]),
    ...messages.map((message) => {
      if (message.role === 'user') return { role: 'user', content: message.text };
      if (message.role === 'tool') return { role: 'tool', tool_call_id: message.callId, content: message.text };
      const tool_calls = message.toolCalls.map(({ callId: id, tool, args: given }) => {
        return { id, type: 'function', function: { name: tool, arguments: JSON.stringify(given) } };
      });
      return { role: 'assistant', content: message.text, tool_calls };
    }),
  ],
  ...(tools.length === 0
    ? {}
    : {
        tools: tools.map(({ name: tool, description, inputSchema }) => {
          return { type: 'function', function: { name: tool, description, parameters: inputSchema } };
        }),
      }),
  ...(typeof toolChoice === 'object' ? { tool_choice: { type: 'function', function: toolChoice } } : {}),
});

/** The same in the words of a client of Anthropic's. */
const asMessages = ({
  system,
  messages,
  tools = [],
  toolChoice,
  temperature,
  maxOutputTokens,
  model,
}: ChatInput): Json => ({
  model,
  stream: true,
  max_tokens: maxOutputTokens,
  temperature,
  ...(system === '' ? {} : { system }),
  messages: messages.map((message) => {
    if (message.role === 'user') return { role: 'user', content: message.text };
    if (message.role === 'tool') {
      const source = message.image && {
        type: 'base64',
        media_type: message.image.mediaType,
        data: message.image.base64,
      };
      const content = [{ type: 'text', text: message.text }, ...(source ? [{ type: 'image', source }] : [])];
      return {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: message.callId, content, is_error: message.isError }],
      };
    }
    const calls = message.toolCalls.map(({ callId: id, tool, args: input }) => ({
      type: 'tool_use',
      id,
      name: tool,
      input,
    }));
    return { role: 'assistant', content: [{ type: 'text', text: message.text }, ...calls] };
  }),
  ...(tools.length === 0
    ? {}
    : {
        tools: tools.map(({ name: tool, description, inputSchema }) => ({
          name: tool,
          description,
          input_schema: inputSchema,
        })),
      }),
  ...(typeof toolChoice === 'object' ? { tool_choice: { type: 'tool', ...toolChoice } } : {}),
});

/** Where two bodies differ, by their paths, each place of a list called `*`. */
function differences(one: unknown, other: unknown, path = ''): string[] {
  if (Object.is(one, other)) return [];
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return [path];
  if (Array.isArray(one) !== Array.isArray(other)) return [path];
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].flatMap((key) =>
    differences((one as Json)[key], (other as Json)[key], `${path}.${Array.isArray(one) ? '*' : key}`),
  );
}

/** Each difference between what both send to the provider, and why it is there. */
const decided: Record<Wire, Record<string, string>> = {
  anthropic: {
    '.cache_control':
      'OpenAI keeps prompts by itself, so a client of it has the whole marked; agents mark what goes on',
    '.system': 'the same',
    '.tools.*.cache_control': 'the same',
  },
  openai: { '.messages.*.content': 'a model that only calls says nothing; a client may say that with an empty text' },
};

const ended: Record<Wire, string> = {
  anthropic: [
    'data: {"type":"message_start","message":{"id":"m","model":"a-model","usage":{"input_tokens":1,"output_tokens":1}}}',
    'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Yes."}}',
    'data: {"type":"content_block_stop","index":0}',
    'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}',
    'data: {"type":"message_stop"}\n\n',
  ]
    .map((data) => `event: ${/"type":"(\w+)"/.exec(data)?.[1]}\n${data}`)
    .join('\n\n'),
  openai: [
    'data: {"id":"c","model":"a-model","choices":[{"index":0,"delta":{"content":"Yes."},"finish_reason":"stop"}]}',
    'data: [DONE]\n\n',
  ].join('\n\n'),
};

for (const wire of wires) {
  test(`${wire}: an agent's call is sent as a client's who asks the same`, async (t) => {
    await using system = await setUp(wire);
    system.play(Buffer.from(ended[wire]));
    const found = new Set<string>();
    await fc.assert(
      fc.asyncProperty(anyCall(wire), async (input) => {
        await system.askAsAgent(input);
        const agents = system.sent();
        const answer = await system.askAsClient(wire === 'openai' ? asMessages(input) : asChat(input));
        const text = await answer.text();
        if (answer.status !== 200) throw new Error(text);
        for (const path of differences(agents, system.sent())) {
          found.add(path);
          if (!(path in decided[wire])) throw new Error(`${path}: ${JSON.stringify([agents, system.sent()])}`);
        }
      }),
      { numRuns: 60 },
    );
    t.deepEqual(
      [...found].filter((path) => !(path in decided[wire])),
      [],
    );
  });
}

// What is answered.

const event = (data: { type: string; [field: string]: unknown }) =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const claude = (blocks: Json[][], end: Json = {}, usage: Json = {}) =>
  [
    event({
      type: 'message_start',
      message: { id: 'm', model: 'a-model', usage: { input_tokens: 50, output_tokens: 1 } },
    }),
    event({ type: 'ping' }),
    ...blocks.flatMap(([content_block, ...deltas], index) => [
      event({ type: 'content_block_start', index, content_block }),
      ...deltas.map((delta) => event({ type: 'content_block_delta', index, delta })),
      event({ type: 'content_block_stop', index }),
    ]),
    event({ type: 'message_delta', delta: { stop_reason: 'end_turn', ...end }, usage: { output_tokens: 7, ...usage } }),
    event({ type: 'message_stop' }),
  ].join('');
const cutBefore = (stream: string, type: string) => stream.slice(0, stream.indexOf(`event: ${type}`));
const chunks = (...all: Json[]) =>
  [...all.map((data) => `data: ${JSON.stringify(data)}\n\n`), 'data: [DONE]\n\n'].join('');
const chunk = (delta: Json, finish_reason: string | null = null) => ({
  ...{ id: 'c', object: 'chat.completion.chunk', model: 'a-model' },
  choices: [{ index: 0, delta, finish_reason }],
});
const calling = (index: number | undefined, id: string | undefined, tool: string | undefined, json: string) =>
  chunk({ tool_calls: [{ index, id, function: { name: tool, arguments: json } }] });
const chatUsage = { choices: [], usage: { prompt_tokens: 50, completion_tokens: 7 } };
const done = chunk({}, 'tool_calls');
const textBlock = (...texts: string[]): Json[] => [
  { type: 'text', text: '' },
  ...texts.map((text) => ({ type: 'text_delta', text })),
];
const callBlock = (id: string, tool: string, ...json: string[]): Json[] => [
  { type: 'tool_use', id, name: tool, input: {} },
  ...json.map((partial_json) => ({ type: 'input_json_delta', partial_json })),
];

type Said = { text: string; calls: [string, string][]; stop: string; tokens: [number, number] };
type Meant = Said | { failure: string };
type Recorded = [what: string, stream: string, meant: Meant];
const plain = (text: string, stop = 'end'): Said => ({ text, calls: [], stop, tokens: [50, 7] });
const called = (...calls: [string, string][]): Said => ({ text: '', calls, stop: 'tool-calls', tokens: [50, 7] });
const two = called(['look', '{"at":"a"}'], ['look', '{"at":"b"}']);

/** Streams as they came, and what they mean. */
const recorded: Record<Wire, Recorded[]> = {
  anthropic: [
    ['a text in pieces', claude([textBlock('All is ', 'well – 👍.')]), plain('All is well – 👍.')],
    [
      'two calls, one of them without arguments',
      claude([callBlock('a', 'look', '{"at"', ':"a"}'), callBlock('b', 'rest')], { stop_reason: 'tool_use' }),
      called(['look', '{"at":"a"}'], ['rest', '{}']),
    ],
    [
      'a number that no object holds',
      claude([callBlock('a', 'look', '{"10":1,"2":1790000000000000007}')], { stop_reason: 'tool_use' }),
      called(['look', '{"10":1,"2":1790000000000000007}']),
    ],
    ['a reason that nobody knows', claude([textBlock('So.')], { stop_reason: 'new' }), plain('So.')],
    ['no room', claude([textBlock('So')], { stop_reason: 'max_tokens' }), plain('So', 'length')],
    ['a refusal', claude([textBlock('No.')], { stop_reason: 'refusal' }), plain('No.', 'refusal')],
    ['an end that tells of a prompt of no tokens', claude([textBlock('So.')], {}, { input_tokens: 0 }), plain('So.')],
    ['events without their names', claude([textBlock('So.')]).replaceAll(/^event: .*\n/gm, ''), plain('So.')],
    [
      'an error of the server in the middle',
      cutBefore(claude([textBlock('So.')]), 'message_delta') +
        event({ type: 'error', error: { type: 'api_error', message: 'Oh.' } }),
      { failure: 'unavailable' },
    ],
    ['an end in the middle', cutBefore(claude([textBlock('So.')]), 'message_delta'), { failure: 'upstream' }],
  ],
  openai: [
    [
      'a text in pieces',
      chunks(chunk({ content: 'All is ' }), chunk({ content: 'well – 👍.' }), chunk({}, 'stop'), chatUsage),
      plain('All is well – 👍.'),
    ],
    [
      'two calls at one place, by their ids',
      chunks(calling(0, 'a', 'look', '{"at":"a"}'), calling(0, 'b', 'look', '{"at":"b"}'), done, chatUsage),
      two,
    ],
    [
      'calls without a place',
      chunks(
        calling(undefined, 'a', 'look', '{"at":"a"}'),
        calling(undefined, 'b', 'look', '{"at":"b"}'),
        done,
        chatUsage,
      ),
      two,
    ],
    [
      'a name that is said again with each piece',
      chunks(
        ...[calling(0, 'a', 'look', '{"at":'), calling(0, 'a', 'look', '"a"}'), calling(1, 'b', 'look', '{"at":"b"}')],
        ...[done, chatUsage],
      ),
      two,
    ],
    [
      'chunks without choices',
      chunks({ object: 'ping' }, chunk({ content: 'So.' }, 'stop'), { choices: null }, { usage: chatUsage.usage }),
      plain('So.'),
    ],
    ['a refusal in words', chunks(chunk({ refusal: 'No.' }), chunk({}, 'stop'), chatUsage), plain('No.', 'refusal')],
    [
      'an error of the server in the middle',
      chunks(chunk({ content: 'So' }), { error: { message: 'Oh.', type: 'server_error' } }),
      { failure: 'unavailable' },
    ],
    ['an end in the middle', chunks(chunk({ content: 'So' })).replace('data: [DONE]', ': '), { failure: 'upstream' }],
  ],
};

/** What an agent is told. */
async function agentsReading(answering: Promise<ChatResponse>): Promise<Meant> {
  try {
    const { answer, facts } = await answering;
    return {
      text: answer.text,
      calls: answer.toolCalls.map(({ tool, args: given, json }) => [tool, json ?? JSON.stringify(given)]),
      stop: answer.stopReason,
      tokens: [facts.usage.inputTokens, facts.usage.outputTokens],
    };
  } catch (thrown) {
    return { failure: thrown instanceof Failure ? thrown.code : String(thrown) };
  }
}

/** What a client is told that speaks the other wire; of errors that it is told of one. */
function clientsReading(wire: Wire, stream: Buffer): Meant {
  const reader = (wire === 'openai' ? anthropic : openAiChat).createEventReader();
  const events = [
    ...createSseParser()
      .push(stream)
      .flatMap((each) => reader.read(each)),
    ...reader.end(),
  ];
  if (events.some(({ type }) => type === 'error')) return { failure: 'told' };
  const { parts, stopReason, usage } = collect(events);
  const calls = parts.filter((part) => part.type === 'toolCall');
  return {
    text: parts.map((part) => (part.type === 'text' || part.type === 'refusal' ? part.text : '')).join(''),
    calls: calls.map((part) => [part.name, part.args]),
    stop: stopReason,
    tokens: [usage?.inputTokens ?? 0, usage?.outputTokens ?? 0],
  };
}

const shortly: ChatInput = {
  system: '',
  messages: [{ role: 'user', text: 'Look.' }],
  model: 'a-model',
  maxOutputTokens: 9,
};

for (const wire of wires) {
  test(`${wire}: an agent is told what a client is told, however the stream is cut`, async (t) => {
    await using system = await setUp(wire);
    const asked =
      wire === 'openai' ? asMessages(shortly) : { ...asChat(shortly), stream_options: { include_usage: true } };
    for (const [what, stream, meant] of recorded[wire]) {
      const property = fc.asyncProperty(fc.array(fc.nat(), { maxLength: 8 }), async (places) => {
        system.play(Buffer.from(stream), places);
        t.deepEqual(await agentsReading(system.askAsAgent(shortly)), meant, what);
        const answer = await system.askAsClient(asked);
        const told = clientsReading(wire, Buffer.from(await answer.arrayBuffer()));
        t.deepEqual(told, 'failure' in meant ? { failure: 'told' } : meant, `${what}, for a client`);
      });
      await fc.assert(property, { numRuns: 3 });
    }
  });
}
