import test from 'ava';
import fc from 'fast-check';
import { Failure } from '#shared/errors.ts';
import { anyAnswer, cut, mixedAnswer } from '#test/helpers/wire-arbitraries.ts';
import { bareId, collect } from '../../services/llm-proxy/wires/answers.ts';
import { eventsOf, fromAnswer } from '../../services/llm-proxy/wires/contract/wire.ts';
import type { ClientWire, PivotAnswer, PivotEvent, UpstreamWire } from '../../services/llm-proxy/wires/pivot.ts';
import { createSseParser } from '../../services/llm-proxy/wires/sse.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const request = openAiChat.readRequest({
  model: 'm',
  messages: [{ role: 'user', content: 'Hi.' }],
  stream: true,
  stream_options: { include_usage: true },
});
const reply = { request, createdS: 1_700_000_000 };
const all = [openAiChat, anthropic, openAiResponses];

const bare = (answer: PivotAnswer) => ({ ...answer, id: bareId(answer.id), stopSequence: undefined });

const eventTypes = [
  ...['response.created', 'response.output_item.added', 'response.output_item.done', 'response.output_text.delta'],
  ...['response.function_call_arguments.delta', 'response.completed', 'function_call', 'reasoning', 'error'],
];

/** The answer's events with its texts and arguments in pieces. */
const inPieces = (answer: PivotAnswer, size: number): PivotEvent[] =>
  [...eventsOf(answer)].flatMap((event): PivotEvent[] => {
    if (!('delta' in event)) return [event];
    // By characters: half of a pair is no text.
    const chars = [...event.delta];
    return Array.from({ length: Math.ceil(chars.length / size) }, (_, index) => ({
      ...event,
      delta: chars.slice(index * size, (index + 1) * size).join(''),
    }));
  });

function streamOf(wire: ClientWire, events: readonly PivotEvent[]): Buffer {
  const writer = wire.createEventWriter(reply);
  return Buffer.from(events.map((event) => writer.write(event)).join('') + writer.end());
}

function readStream(wire: UpstreamWire, chunks: readonly Buffer[]): PivotEvent[] {
  const parser = createSseParser();
  const reader = wire.createEventReader();
  return [...chunks.flatMap((chunk) => parser.push(chunk)).flatMap((event) => reader.read(event)), ...reader.end()];
}

for (const wire of all) {
  const answers = wire.name === 'openai-chat' ? anyAnswer : mixedAnswer;

  test(`${wire.name}: an answer that was written is read as it was`, (t) => {
    fc.assert(
      fc.property(answers, (answer) => {
        const body: unknown = JSON.parse(JSON.stringify(wire.writeAnswer(answer, reply)));
        t.deepEqual(bare(wire.readAnswer(body)), bare(answer));
      }),
    );
  });

  test(`${wire.name}: a stream of an answer, cut anywhere, is the answer`, (t) => {
    fc.assert(
      fc.property(answers, fc.integer({ min: 1, max: 9 }), fc.array(fc.nat()), (answer, size, places) => {
        const events = readStream(wire, cut(streamOf(wire, inPieces(answer, size)), places));
        t.deepEqual(bare(collect(events)), bare(answer));
        t.is(events.at(-1)?.type, 'stop');
      }),
    );
  });

  test(`${wire.name}: a stream that breaks off ends in one error, after all that came`, (t) => {
    fc.assert(
      fc.property(answers, fc.nat(), (answer, place) => {
        const whole = streamOf(wire, inPieces(answer, 3));
        const events = readStream(wire, [whole.subarray(0, place % whole.length)]);
        const last = events.at(-1);
        const ends = events.filter(({ type }) => type === 'stop' || type === 'error');
        t.is(ends.length, 1);
        t.is(ends[0], last);
        // Where only the words after the reason are missing, it is whole.
        if (last?.type === 'stop') t.deepEqual(collect(events).parts, answer.parts);
        else t.true(last?.type === 'error' && last.error.code === 'upstream');
      }),
    );
  });

  test(`${wire.name}: whatever a provider sends, reading its stream never throws and ends once`, (t) => {
    const words = [
      'choices',
      'delta',
      'content',
      'tool_calls',
      'function',
      'type',
      'index',
      'usage',
      'error',
      'message',
      'item',
      'response',
      'output_index',
      'call_id',
    ];
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('', 'x', 0, 1, -1, null, true, ...eventTypes),
        fc.array(tie('any'), { maxLength: 2 }),
        tie('object'),
      ),
      object: fc.dictionary(fc.constantFrom(...words), tie('any'), { maxKeys: 5 }),
    })).any;
    const event = fc.oneof(
      value.map((each) => JSON.stringify(each)),
      fc.string(),
      fc.constant('[DONE]'),
    );
    fc.assert(
      fc.property(fc.array(event), (sent) => {
        const reader = wire.createEventReader();
        const events = [...sent.flatMap((data) => reader.read({ data })), ...reader.end(), ...reader.end()];
        t.is(events.filter(({ type }) => type === 'stop' || type === 'error').length, 1);
        t.true(['stop', 'error'].includes(events.at(-1)?.type ?? ''));
      }),
    );
  });

  test(`${wire.name}: a body that is no answer is an upstream failure`, (t) => {
    for (const body of [
      null,
      [],
      'text',
      {},
      { choices: [] },
      { content: [{ type: 'server_tool_use' }], id: 'a', model: 'b', stop_reason: 'end_turn' },
    ]) {
      t.is(t.throws(() => wire.readAnswer(body), { instanceOf: Failure })?.code, 'upstream');
    }
  });
}

test('an answer that goes from one wire to the other and back is the answer, whole and streamed', (t) => {
  fc.assert(
    fc.property(anyAnswer, (answer) => {
      const first = anthropic.readAnswer(anthropic.writeAnswer(answer, reply));
      t.deepEqual(bare(openAiChat.readAnswer(openAiChat.writeAnswer(first, reply))), bare(answer));
      const there = readStream(openAiChat, [streamOf(openAiChat, inPieces(answer, 4))]);
      const back = readStream(anthropic, [streamOf(anthropic, there)]);
      t.deepEqual(bare(collect(back)), bare(answer));
    }),
  );
});

test('the last event of a streamed response is the response, and every item is closed with what was said of it', (t) => {
  fc.assert(
    fc.property(mixedAnswer, fc.integer({ min: 1, max: 9 }), (answer, size) => {
      const sent = createSseParser()
        .push(streamOf(openAiResponses, inPieces(answer, size)))
        .map(({ data }): Record<string, unknown> => JSON.parse(data));
      const whole = JSON.parse(JSON.stringify(openAiResponses.writeAnswer(answer, reply)));
      t.deepEqual(sent.at(-1)?.response, whole);
      t.deepEqual(
        sent.map(({ sequence_number }) => sequence_number),
        sent.map((_, index) => index),
      );
      const done = sent.filter(({ type }) => type === 'response.output_item.done').map(({ item }) => item);
      t.deepEqual(done, whole.output);
      const count = (type: string) => sent.filter((event) => event.type === type).length;
      t.is(count('response.content_part.added'), count('response.content_part.done'));
      t.is(count('response.output_item.added'), done.length);
    }),
  );
});

test('a chat stream tells its usage only to a client that asked for it', (t) => {
  const answer = fromAnswer(
    { text: 'Hi.', toolCalls: [], stopReason: 'end' },
    { id: 'a', model: 'm', usage: { inputTokens: 3, outputTokens: 2, cachedInputTokens: 1, cacheWriteTokens: 0 } },
  );
  const write = (includeUsage: boolean) => {
    const writer = openAiChat.createEventWriter({ createdS: 1, request: { ...request, includeUsage } });
    return [...eventsOf(answer)].map((event) => writer.write(event)).join('') + writer.end();
  };
  t.regex(write(true), /"choices":\[\],"usage":\{"prompt_tokens":3,.*\n\ndata: \[DONE\]\n\n$/);
  t.false(write(false).includes('prompt_tokens'));
});

const callsOf = (events: PivotEvent[]) => collect(events).parts;

test('a call without arguments, of which Anthropic says nothing, has those of an empty object', (t) => {
  const reader = anthropic.createEventReader();
  const events = [
    { type: 'message_start', message: { id: 'msg_1', model: 'm', usage: { input_tokens: 1, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'tool_use', id: 'c', name: 'go', input: {} } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 4 } },
    { type: 'message_stop' },
  ].flatMap((event) => reader.read({ data: JSON.stringify(event) }));
  t.deepEqual(callsOf(events), [{ type: 'toolCall', id: 'c', name: 'go', args: '{}' }]);
});
