import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';

export type Wire = 'chat' | 'responses' | 'messages';

/** A tool's result as the model is given it. */
type Result = { id: string; text: string };

/** What a request asks, in the same words for each wire. */
type Asked = {
  wire: Wire;
  stream: boolean;
  model: string;
  text: string;
  results: Result[];
  hasTools: boolean;
  /** Names of the tools that are offered. */
  tools: string[];
  wantsObject: boolean;
  /** The one tool that has to be called. */
  forced: string | undefined;
};

type Call = { id: string; name: string; args: string };
type Answer = { thinking?: string | undefined; text: string; calls: Call[] };

export type Provider = {
  url: string;
  /** Bodies as they came, in order. */
  bodies: Record<string, unknown>[];
  [Symbol.asyncDispose](): Promise<void>;
};

export const person = { name: 'Ada', age: 36 };
export const towns = ['Oslo', 'Rome'] as const;
export const degrees: Record<string, number> = { Oslo: 3, Rome: 18 };
const tokens = { input: 100, output: 20, thinking: 8, cached: 40 };

/**
 * A model on each of the three wires. It calls a tool for both towns at once, says what came of it, gives an object where one is asked for, and
 * refuses with the status that the text names.
 */
export async function startProvider(): Promise<Provider> {
  const bodies: Record<string, unknown>[] = [];
  const server = createServer(async (incoming, response) => {
    const body = await readJson(incoming);
    const asked = readAsked(incoming.url ?? '', body);
    if (!asked) return void response.writeHead(404).end('{}');
    bodies.push(body);
    const refused = /refuse with (\d+)/.exec(asked.text)?.[1];
    if (refused) return sendError(response, asked.wire, Number(refused));
    const answer = answerTo(asked);
    if (asked.wire === 'chat') sendChat(response, asked, answer);
    else if (asked.wire === 'responses') sendResponses(response, asked, answer);
    else sendMessages(response, asked, answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    bodies,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function readJson(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

type Part = Record<string, unknown>;
const partsOf = (content: unknown): Part[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : Array.isArray(content) ? content : [];
const textOf = (content: unknown): string =>
  partsOf(content)
    .map((part) => (typeof part.text === 'string' ? part.text : ''))
    .join('');

function readAsked(url: string, body: Part): Asked | undefined {
  const path = url.split('?')[0];
  const tools = Array.isArray(body.tools) ? (body.tools as Part[]) : [];
  const common = {
    stream: body.stream === true,
    model: String(body.model),
    hasTools: tools.length > 0,
    tools: namesOf(tools),
  };
  const any = isAny(body.tool_choice) ? (nameIn(tools[0]) ?? nameIn(tools[0]?.function)) : undefined;
  const items = (Array.isArray(body.messages ?? body.input) ? (body.messages ?? body.input) : []) as Part[];
  if (path === '/v1/chat/completions') {
    const said = items.findLast(({ role }) => role === 'user');
    return {
      ...common,
      wire: 'chat',
      text: textOf(said?.content),
      results: items
        .filter(({ role }) => role === 'tool')
        .map((each) => ({ id: String(each.tool_call_id), text: textOf(each.content) })),
      wantsObject: (body.response_format as Part | undefined)?.type === 'json_schema',
      forced: any ?? nameIn((body.tool_choice as Part | undefined)?.function),
    };
  }
  if (path === '/v1/responses') {
    const said = items.findLast(({ role }) => role === 'user');
    return {
      ...common,
      wire: 'responses',
      text: typeof body.input === 'string' ? body.input : textOf(said?.content),
      results: items
        .filter(({ type }) => type === 'function_call_output')
        .map((each) => ({ id: String(each.call_id), text: textOf(each.output) })),
      wantsObject: ((body.text as Part | undefined)?.format as Part | undefined)?.type === 'json_schema',
      forced: any ?? nameIn(body.tool_choice),
    };
  }
  if (path === '/v1/messages') {
    const parts = items.flatMap(({ role, content }) => partsOf(content).map((part) => ({ role, ...part }) as Part));
    return {
      ...common,
      wire: 'messages',
      text: String(parts.findLast(({ role, type }) => role === 'user' && type === 'text')?.text ?? ''),
      results: parts
        .filter(({ type }) => type === 'tool_result')
        .map((each) => ({ id: String(each.tool_use_id), text: textOf(each.content) })),
      wantsObject: ((body.output_config as Part | undefined)?.format as Part | undefined)?.type === 'json_schema',
      forced: any ?? nameIn(body.tool_choice),
    };
  }
  return undefined;
}

const namesOf = (tools: readonly Part[]): string[] =>
  tools.flatMap((tool) => nameIn(tool) ?? nameIn(tool.function) ?? []);

const isAny = (choice: unknown): boolean =>
  choice === 'required' || (typeof choice === 'object' && choice !== null && 'type' in choice && choice.type === 'any');

function nameIn(choice: unknown): string | undefined {
  const name = typeof choice === 'object' && choice !== null && 'name' in choice ? choice.name : undefined;
  return typeof name === 'string' ? name : undefined;
}

/** How each agent's tool that reads is called. */
const readers: Record<string, (path: string) => object> = {
  Read: (file_path) => ({ file_path }),
  read: (filePath) => ({ filePath }),
  exec_command: (path) => ({ cmd: `cat ${path}` }),
  shell_command: (path) => ({ command: `cat ${path}` }),
  shell: (path) => ({ command: ['cat', path] }),
};

function reading({ text, tools }: Asked): Call | undefined {
  const path = /read the file (\/\S+)/.exec(text)?.[1];
  const name = tools.find((each) => each in readers);
  return path && name ? { id: 'call_reading1', name, args: JSON.stringify(readers[name]?.(path)) } : undefined;
}

function answerTo(asked: Asked): Answer {
  const { text, results, hasTools, wantsObject, forced } = asked;
  if (wantsObject) return { text: JSON.stringify(person), calls: [] };
  if (forced) return { text: '', calls: [{ id: 'call_object1', name: forced, args: JSON.stringify(person) }] };
  if (hasTools && results.length === 0 && /weather/.test(text)) {
    const calls = towns.map((town, index) => ({
      ...{ id: `call_weather${index + 1}`, name: 'get_weather', args: JSON.stringify({ town }) },
    }));
    return { thinking: 'Both towns at once.', text: 'I look.', calls };
  }
  const call = results.length === 0 ? reading(asked) : undefined;
  if (call) return { thinking: 'I have to look.', text: 'I read it.', calls: [call] };
  if (results.length > 0) return { text: `Now: ${results.map((each) => each.text).join('; ')}`, calls: [] };
  return { text: 'Hello there', calls: [] };
}

const json = (response: ServerResponse, value: object, status = 200): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

function sendError(response: ServerResponse, wire: Wire, status: number): void {
  const types: Record<number, string> = {
    ...{ 400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error' },
    ...{ 429: 'rate_limit_error', 500: 'api_error', 529: 'overloaded_error' },
  };
  const error = { type: types[status] ?? 'api_error', message: `refused with ${status}` };
  if (wire === 'messages') return void json(response, { type: 'error', error, request_id: 'req_1' }, status);
  json(response, { error: { ...error, param: null, code: status === 404 ? 'model_not_found' : null } }, status);
}

function sendEvents(response: ServerResponse, events: readonly object[], named: boolean, done = ''): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) {
    const name = named && 'type' in event ? `event: ${event.type}\n` : '';
    response.write(`${name}data: ${JSON.stringify(event)}\n\n`);
  }
  response.end(done);
}

/** In pieces, as it comes. */
const pieces = (text: string) => text.match(/[\s\S]{1,5}/g) ?? [];

function sendChat(response: ServerResponse, { stream, model }: Asked, { text, calls }: Answer): void {
  const base = { id: 'chatcmpl-1', created: 1_790_000_000, model };
  const finish_reason = calls.length > 0 ? 'tool_calls' : 'stop';
  const usage = {
    ...{ prompt_tokens: tokens.input, completion_tokens: tokens.output, total_tokens: tokens.input + tokens.output },
    prompt_tokens_details: { cached_tokens: tokens.cached },
    completion_tokens_details: { reasoning_tokens: tokens.thinking },
  };
  if (!stream) {
    const tool_calls = calls.map(({ id, name, args }) => ({
      id,
      type: 'function',
      function: { name, arguments: args },
    }));
    const message = {
      role: 'assistant',
      content: text || null,
      refusal: null,
      ...(calls.length > 0 ? { tool_calls } : {}),
    };
    return void json(response, {
      ...{ ...base, object: 'chat.completion', choices: [{ index: 0, message, finish_reason, logprobs: null }], usage },
    });
  }
  const chunk = (delta: object, reason: string | null = null) => ({
    ...{ ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: reason }] },
  });
  const events = [
    chunk({ role: 'assistant', content: '' }),
    ...pieces(text).map((content) => chunk({ content })),
    ...calls.flatMap(({ id, name, args }, index) => [
      chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
      ...pieces(args).map((part) => chunk({ tool_calls: [{ index, function: { arguments: part } }] })),
    ]),
    chunk({}, finish_reason),
    { ...base, object: 'chat.completion.chunk', choices: [], usage },
  ];
  sendEvents(response, events, false, 'data: [DONE]\n\n');
}

function sendMessages(response: ServerResponse, { stream, model }: Asked, { thinking, text, calls }: Answer): void {
  const content = [
    ...(thinking ? [{ type: 'thinking', thinking, signature: 'c2lnbmVk' }] : []),
    ...(text ? [{ type: 'text', text }] : []),
    ...calls.map(({ id, name, args }) => ({ type: 'tool_use', id, name, input: JSON.parse(args) })),
  ];
  const usage = {
    input_tokens: tokens.input - tokens.cached,
    cache_read_input_tokens: tokens.cached,
    cache_creation_input_tokens: 0,
    output_tokens: tokens.output,
    output_tokens_details: { thinking_tokens: tokens.thinking },
  };
  const stop_reason = calls.length > 0 ? 'tool_use' : 'end_turn';
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model, stop_sequence: null };
  if (!stream) return void json(response, { ...message, content, stop_reason, usage });
  const blocks = content.flatMap((block, index) => {
    const start = (content_block: object) => ({ type: 'content_block_start', index, content_block });
    const delta = (each: object) => ({ type: 'content_block_delta', index, delta: each });
    const stop = { type: 'content_block_stop', index };
    if (block.type === 'thinking')
      return [
        start({ type: 'thinking', thinking: '', signature: '' }),
        delta({ type: 'thinking_delta', thinking }),
        delta({ type: 'signature_delta', signature: 'c2lnbmVk' }),
        stop,
      ];
    if (block.type === 'text')
      return [
        start({ type: 'text', text: '' }),
        ...pieces(text).map((part) => delta({ type: 'text_delta', text: part })),
        stop,
      ];
    const args = JSON.stringify('input' in block ? block.input : {});
    return [
      start({ ...block, input: {} }),
      ...pieces(args).map((partial_json) => delta({ type: 'input_json_delta', partial_json })),
      stop,
    ];
  });
  const events = [
    {
      type: 'message_start',
      message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } },
    },
    { type: 'ping' },
    ...blocks,
    { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage },
    { type: 'message_stop' },
  ];
  sendEvents(response, events, true);
}

function sendResponses(response: ServerResponse, { stream, model }: Asked, { text, calls }: Answer): void {
  const output = [
    ...(text
      ? [
          {
            ...{ type: 'message', id: 'msg_1', role: 'assistant', status: 'completed' },
            content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
          },
        ]
      : []),
    ...calls.map(({ id, name, args }) => ({
      ...{ type: 'function_call', id: `fc_${id}`, call_id: id, name, arguments: args, status: 'completed' },
    })),
  ];
  const whole = {
    ...{ id: 'resp_1', object: 'response', created_at: 1_790_000_000, model, error: null, incomplete_details: null },
    ...{ instructions: null, metadata: {}, parallel_tool_calls: true, temperature: 1, tool_choice: 'auto', tools: [] },
    ...{ top_p: 1, status: 'completed', output },
    usage: {
      ...{ input_tokens: tokens.input, output_tokens: tokens.output, total_tokens: tokens.input + tokens.output },
      input_tokens_details: { cached_tokens: tokens.cached },
      output_tokens_details: { reasoning_tokens: tokens.thinking },
    },
  };
  if (!stream) return void json(response, whole);
  const begun = { ...whole, status: 'in_progress', output: [], usage: null };
  const items = output.flatMap((item, output_index): object[] => {
    const item_id = item.id;
    if (item.type === 'message') {
      const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
      const at = { item_id, output_index, content_index: 0 };
      return [
        { type: 'response.output_item.added', output_index, item: { ...item, status: 'in_progress', content: [] } },
        { type: 'response.content_part.added', ...at, part },
        ...pieces(text).map((delta) => ({ type: 'response.output_text.delta', ...at, delta, logprobs: [] })),
        { type: 'response.output_text.done', ...at, text, logprobs: [] },
        { type: 'response.content_part.done', ...at, part: { ...part, text } },
        { type: 'response.output_item.done', output_index, item },
      ];
    }
    const args = 'arguments' in item ? item.arguments : '';
    return [
      { type: 'response.output_item.added', output_index, item: { ...item, status: 'in_progress', arguments: '' } },
      ...pieces(args).map((delta) => ({
        type: 'response.function_call_arguments.delta',
        item_id,
        output_index,
        delta,
      })),
      { type: 'response.function_call_arguments.done', item_id, output_index, arguments: args },
      { type: 'response.output_item.done', output_index, item },
    ];
  });
  const events = [
    { type: 'response.created', response: begun },
    { type: 'response.in_progress', response: begun },
    ...items,
    { type: 'response.completed', response: whole },
  ].map((event, sequence_number) => ({ ...event, sequence_number }));
  sendEvents(response, events, true);
}
