import test from 'ava';
import { Failure } from '#shared/errors.ts';
import { collect } from '../../services/llm-proxy/wires/answers.ts';
import type { PivotEvent } from '../../services/llm-proxy/wires/pivot.ts';
import { createSseParser } from '../../services/llm-proxy/wires/sse.ts';
import { anthropic, openAiChat } from '../../services/llm-proxy/wires/wires.ts';

type Delta = Record<string, unknown>;

const request = openAiChat.readRequest({ model: 'm', messages: [{ role: 'user', content: 'Hi.' }], stream: true });
const reply = { request, createdS: 1_700_000_000 };

const chunk = (delta: Delta, finish_reason: string | null = null) => ({
  id: 'a',
  model: 'm',
  choices: [{ index: 0, delta, finish_reason }],
});
const last = chunk({}, 'tool_calls');

function eventsOf(events: readonly (object | string)[]): PivotEvent[] {
  const reader = openAiChat.createEventReader();
  const read = events.flatMap((each) => reader.read({ data: typeof each === 'string' ? each : JSON.stringify(each) }));
  return [...read, ...reader.end()];
}

/** What a client of Anthropic's wire would make of it: parts mixed on the way there would be told at a wrong place. */
function answerOf(events: readonly (object | string)[]) {
  const writer = anthropic.createEventWriter(reply);
  const text = eventsOf(events)
    .map((event) => writer.write(event))
    .join('');
  const reader = anthropic.createEventReader();
  const parsed = createSseParser().push(Buffer.from(text + writer.end()));
  const answer = collect(parsed.flatMap((event) => reader.read(event)));
  return answer.parts.map((part) => (part.type === 'toolCall' ? [part.name, part.args] : part.text));
}

const callsOf = (events: readonly (object | string)[]) => {
  const { parts } = collect(eventsOf(events));
  return parts.flatMap((part) => (part.type === 'toolCall' ? [part] : []));
};
const errorOf = (events: readonly (object | string)[]) =>
  eventsOf(events).find((event) => event.type === 'error')?.error;

const a = '{"path":"a.txt"}';
const b = '{"path":"b.txt"}';
const piece = (fields: Delta, name?: string, args?: string) =>
  chunk({ tool_calls: [{ ...fields, function: { ...(name && { name }), ...(args && { arguments: args }) } }] });

const twoCalls: [string, object[]][] = [
  ['at one index, with ids', [piece({ index: 0, id: 'c1' }, 'read', a), piece({ index: 0, id: 'c2' }, 'read', b)]],
  ['at one index, without ids', [piece({ index: 0 }, 'read', a), piece({ index: 0 }, 'read', b)]],
  [
    'at one index, with one id for all',
    [piece({ index: 0, id: 'x' }, 'read', a), piece({ index: 0, id: 'x' }, 'read', b)],
  ],
  [
    'at one index, in pieces',
    [
      piece({ index: 0 }, 'read', '{"path":'),
      piece({ index: 0 }, undefined, '"a.txt"}'),
      piece({ index: 0 }, 'read', b),
    ],
  ],
  ['without an index', [piece({ id: 'c1' }, 'read', a), piece({ id: 'c2' }, 'read', b)]],
  ['without an index and without ids', [piece({}, 'read', a), piece({}, 'read', b)]],
  [
    'in one chunk, with empty ids',
    [chunk({ tool_calls: [a, b].map((args) => ({ index: 0, id: '', function: { name: 'read', arguments: args } })) })],
  ],
  [
    'whose name is in every piece',
    [
      piece({ index: 0, id: 'c1' }, 'read', '{"path":'),
      piece({ index: 0, id: 'c1' }, 'read', '"a.txt"}'),
      piece({ index: 0, id: 'c1' }, 'read'),
      piece({ index: 1, id: 'c2' }, 'read', '{"path":'),
      piece({ index: 1, id: 'c2' }, 'read', '"b.txt"}'),
    ],
  ],
  [
    'whose name is in every piece, without ids',
    [
      piece({ index: 0 }, 'read', '{"path":'),
      piece({ index: 0 }, 'read', '"a.txt"}'),
      piece({ index: 0 }, 'read', '{"path":'),
      piece({ index: 0 }, 'read', '"b.txt"}'),
    ],
  ],
  [
    'whose name comes last',
    [
      piece({ index: 0, id: 'c1' }, undefined, a),
      piece({ index: 0 }, 'read'),
      piece({ index: 1, id: 'c2' }, undefined, b),
      piece({ index: 1 }, 'read'),
    ],
  ],
  [
    'whose name comes last, at one index',
    [
      piece({ index: 0, id: 'c1' }, undefined, a),
      piece({ index: 0, id: 'c1' }, 'read'),
      piece({ index: 0, id: 'c2' }, undefined, b),
      piece({ index: 0, id: 'c2' }, 'read'),
    ],
  ],
  [
    'that come interleaved',
    [
      piece({ index: 0, id: 'c1' }, 'read'),
      piece({ index: 1, id: 'c2' }, 'read'),
      piece({ index: 0 }, undefined, '{"path":'),
      piece({ index: 1 }, undefined, '{"path":'),
      piece({ index: 0 }, undefined, '"a.txt"}'),
      piece({ index: 1 }, undefined, '"b.txt"}'),
    ],
  ],
  [
    'that come interleaved, by their ids alone',
    [
      piece({ id: 'c1' }, 'read'),
      piece({ id: 'c2' }, 'read'),
      piece({ id: 'c2' }, undefined, b),
      piece({ id: 'c1' }, undefined, a),
    ],
  ],
  [
    'whose id is in the function',
    [
      chunk({ tool_calls: [{ index: 0, function: { id: 'c1', name: 'read', arguments: a } }] }),
      chunk({ tool_calls: [{ index: 0, function: { id: 'c2', name: 'read', arguments: b } }] }),
    ],
  ],
  [
    'whose arguments are objects',
    [
      chunk({ tool_calls: [{ index: 0, id: 'c1', function: { name: 'read', arguments: JSON.parse(a) } }] }),
      chunk({ tool_calls: [{ index: 0, id: 'c2', function: { name: 'read', arguments: JSON.parse(b) } }] }),
    ],
  ],
  [
    'with white space behind each',
    [
      piece({ index: 0, id: 'c1' }, 'read', a),
      piece({ index: 1, id: 'c2' }, 'read', b),
      piece({ index: 0 }, undefined, ' \n'),
    ],
  ],
];

for (const [how, chunks] of twoCalls) {
  test(`two calls ${how} are two calls`, (t) => {
    const expected = [
      ['read', a],
      ['read', b],
    ];
    t.deepEqual(answerOf([...chunks, last]), expected);
    const ids = callsOf([...chunks, last]).map(({ id }) => id);
    t.is(new Set(ids).size, 2);
    t.true(ids.every((id) => id.length > 1 || id === 'x'));
    // Servers say "stop" for calls, or give no reason at all.
    for (const end of [[chunk({}, 'stop')], [chunk({}, ''), '[DONE]'], ['[DONE]']]) {
      t.deepEqual(answerOf([...chunks, ...end]), expected);
      t.like(eventsOf([...chunks, ...end]).at(-1), { type: 'stop', reason: 'tool-calls' });
    }
  });
}

test('different tools at one index are two calls, and one that has no arguments has those of an empty object', (t) => {
  const chunks = [piece({ index: 0 }, 'rest'), piece({ index: 0 }, 'read', b), last];
  t.deepEqual(answerOf(chunks), [
    ['rest', '{}'],
    ['read', b],
  ]);
});

test('made ids differ from answer to answer, so that a conversation has each once', (t) => {
  const chunks = [piece({ index: 0 }, 'read', a), last];
  t.not(callsOf(chunks)[0]?.id, callsOf(chunks)[0]?.id);
});

test('the arguments of a call go on as they come, also where its name is said again', (t) => {
  const reader = openAiChat.createEventReader();
  const read = (each: object) => reader.read({ data: JSON.stringify(each) }).map(({ type }) => type);
  t.deepEqual(read(piece({ index: 0, id: 'c1' }, 'read', '{"pa')), ['start', 'toolCallStart', 'toolCallArgs']);
  t.deepEqual(read(piece({ index: 0, id: 'c1' }, 'read', 'th":')), ['toolCallArgs']);
  t.deepEqual(read(piece({ index: 0 }, undefined, '1}')), ['toolCallArgs']);
  t.deepEqual(read(piece({ index: 1, id: 'c2' }, 'read', '{')), ['toolCallStart', 'toolCallArgs']);
});

test('a word between the pieces of a call is told behind it', (t) => {
  const chunks = [
    chunk({ content: 'First.' }),
    piece({ index: 0, id: 'c1' }, 'read', '{"path":'),
    chunk({ content: '\n' }),
    piece({ index: 0 }, undefined, '"a.txt"}'),
    piece({ index: 1, id: 'c2' }, 'read', b),
    chunk({ content: 'Last.' }),
    last,
  ];
  t.deepEqual(answerOf(chunks), ['First.', ['read', a], '\n', ['read', b], 'Last.']);
});

test('arguments that go on after their call was whole are an error, and so is a call without a name', (t) => {
  const mixed = [
    piece({ index: 0, id: 'c1' }, 'read', a),
    piece({ index: 1, id: 'c2' }, 'read', b),
    piece({ index: 0 }, undefined, 'x'),
  ];
  t.is(errorOf([...mixed, last])?.message, 'the answer mixes its tool calls');
  t.is(errorOf([piece({ index: 0, id: 'c1' }, undefined, a), last])?.message, 'the answer calls a tool without a name');
});

test('content that is a list of parts is its texts, and the thinking in it is thinking', (t) => {
  const thinking = [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }];
  const chunks = [
    chunk({ content: thinking }),
    chunk({
      content: [
        { type: 'text', text: 'Hello' },
        { type: 'reference', reference_ids: [1] },
      ],
    }),
    chunk({ content: ' world' }, 'stop'),
  ];
  const expected = [
    { type: 'thinking', of: 'openai-chat', text: 'hm' },
    { type: 'text', text: 'Hello world' },
  ];
  t.deepEqual<unknown, unknown>(collect(eventsOf(chunks)).parts, expected);
  const whole = openAiChat.readAnswer({
    choices: [{ finish_reason: 'stop', message: { content: [...thinking, { type: 'text', text: 'Hello world' }] } }],
  });
  t.deepEqual<unknown, unknown>(whole.parts, expected);
});

for (const fields of [
  { reasoning_content: 'hm' },
  { reasoning: 'hm' },
  { reasoning: 'hm', reasoning_content: 'hm' },
  { reasoning_content: null, reasoning: 'hm', content: '' },
]) {
  test(`thinking is read: ${JSON.stringify(fields)}`, (t) => {
    const chunks = [chunk(fields), chunk({ content: 'Hi.' }, 'stop')];
    const expected = [
      { type: 'thinking', of: 'openai-chat', text: 'hm' },
      { type: 'text', text: 'Hi.' },
    ];
    t.deepEqual<unknown, unknown>(collect(eventsOf(chunks)).parts, expected);
    const message = { content: 'Hi.', ...(fields.content === '' ? { reasoning: 'hm' } : fields) };
    const whole = openAiChat.readAnswer({ choices: [{ finish_reason: 'stop', message }] });
    t.deepEqual<unknown, unknown>(whole.parts, expected);
  });
}

test('chunks without choices say nothing but their usage', (t) => {
  const events = eventsOf([
    { object: 'ping' },
    { id: 'a', model: 'm', choices: null },
    { id: 'a', model: 'm', choices: [] },
    '',
    { ...chunk({ content: 'Hi.' }), usage: { prompt_tokens: 3, completion_tokens: 1 } },
    { object: 'ping' },
    { ...chunk({}, 'stop'), usage: { prompt_tokens: 3, completion_tokens: 2 } },
    { usage: { prompt_tokens: 3, completion_tokens: 2 } },
    '[DONE]',
  ]);
  t.deepEqual(
    events.map(({ type }) => type),
    ['start', 'text', 'usage', 'stop'],
  );
  t.like(events[0], { id: 'a', model: 'm' });
  t.like(events[2], { usage: { inputTokens: 3, outputTokens: 2 } });
});

test('a stream that is done without a reason is whole, and one that only breaks off is not', (t) => {
  t.like(eventsOf([chunk({ content: 'Hi.' }), '[DONE]']).at(-1), { type: 'stop', reason: 'end' });
  const cut = 'the answer was cut off before its end';
  t.is(errorOf([chunk({ content: 'Hi.' })])?.message, cut);
  t.is(errorOf(['[DONE]'])?.message, cut);
  t.is(errorOf([piece({ index: 0, id: 'c1' }, 'read', '{"pa'), '[DONE]'])?.message, cut);
});

test('an event stream with a mark, CRLF, comments and events without data is read as any', (t) => {
  const text = [
    '\uFEFF: keep-alive',
    '',
    'event: ping',
    '',
    'data:',
    '',
    `data:${JSON.stringify(chunk({ content: 'Hi.' }))}`,
    '',
    ': OPENROUTER PROCESSING',
    '',
    'id: 7',
    'retry: 10',
    `data: ${JSON.stringify(chunk({}, 'stop'))}`,
    '',
    'data: [DONE]',
    '',
    '',
  ].join('\r\n');
  const reader = openAiChat.createEventReader();
  const events = createSseParser()
    .push(Buffer.from(text))
    .flatMap((event) => reader.read(event));
  t.deepEqual(
    events.map(({ type }) => type),
    ['start', 'text', 'stop'],
  );
});

const errors: [string, string, string, RegExp][] = [
  [
    'OpenAI, Groq',
    'data: {"error":{"message":"too many","type":"tokens","code":"rate_limit_exceeded"}}',
    'limited',
    /too many/,
  ],
  [
    'vLLM',
    'data: {"error":{"message":"no such thing","type":"BadRequestError","param":null,"code":400}}',
    'invalid',
    /no such thing/,
  ],
  [
    'vLLM, older',
    'data: {"object":"error","message":"no such thing","type":"BadRequestError","param":null,"code":400}',
    'invalid',
    /no such thing/,
  ],
  [
    'Ollama',
    'data: {"error":{"message":"unexpected EOF","type":"api_error","param":null,"code":null}}',
    'unavailable',
    /unexpected EOF/,
  ],
  ['a text', 'data: {"error":"model runner has stopped"}', 'upstream', /runner has stopped/],
  [
    'llama.cpp',
    'data: {"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
    'unavailable',
    /Loading model/,
  ],
  [
    'llama.cpp, older',
    'error: {"code":500,"message":"out of memory","type":"server_error"}',
    'unavailable',
    /out of memory/,
  ],
  ['LM Studio', 'event: error\ndata: {"error":{"message":"The model has crashed"}}', 'upstream', /has crashed/],
  [
    'Mistral',
    'data: {"object":"error","message":"Service tier capacity exceeded","type":"x","code":"429"}',
    'limited',
    /capacity/,
  ],
  [
    'OpenRouter',
    'data: {"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":429,"message":"slow down"}}]}',
    'limited',
    /slow down/,
  ],
  ['by its name', 'event: error\ndata: {"message":"gone"}', 'upstream', /gone/],
  [
    'DeepSeek',
    `data: ${JSON.stringify(chunk({ content: '' }, 'insufficient_system_resource'))}`,
    'unavailable',
    /resources/,
  ],
];

for (const [server, text, code, message] of errors) {
  test(`an error in the middle of a stream is read in the form of ${server}`, (t) => {
    const reader = openAiChat.createEventReader();
    const bytes = Buffer.from(`data: ${JSON.stringify(chunk({ content: 'Hi.' }))}\n\n${text}\n\ndata: [DONE]\n\n`);
    const events = createSseParser()
      .push(bytes)
      .flatMap((event) => reader.read(event));
    const found = events.at(-1);
    if (found?.type !== 'error') return t.fail('there is no error');
    t.is(found.error.code, code);
    t.regex(found.error.message, message);
  });
}

test('a whole answer as servers give it is read: calls without ids, arguments as an object or none, no reason', (t) => {
  const whole = openAiChat.readAnswer({
    choices: [
      {
        finish_reason: null,
        message: {
          content: null,
          reasoning: null,
          tool_calls: [
            { id: '', function: { name: 'read', arguments: JSON.parse(a) } },
            { function: { name: 'read', arguments: b } },
            { id: 'x', function: { name: 'rest', arguments: null } },
            { id: 'x', function: { name: 'rest' } },
          ],
        },
      },
    ],
  });
  const calls = whole.parts.flatMap((part) => (part.type === 'toolCall' ? [part] : []));
  t.deepEqual(
    calls.map(({ name, args }) => [name, args]),
    [
      ['read', a],
      ['read', b],
      ['rest', '{}'],
      ['rest', '{}'],
    ],
  );
  t.is(new Set(calls.map(({ id }) => id)).size, 4);
  t.is(whole.stopReason, 'tool-calls');
  t.not(whole.id, '');
  t.throws(() => openAiChat.readAnswer({ choices: [{ finish_reason: 'insufficient_system_resource', message: {} }] }), {
    instanceOf: Failure,
    code: 'unavailable',
  });
});
