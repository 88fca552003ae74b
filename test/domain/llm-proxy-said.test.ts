import test from 'ava';
import { saidIn } from '../../services/llm-proxy/upstreams/count-said.ts';
import { anthropicMarks, chatMarks, responsesMarks } from '../../services/llm-proxy/upstreams/stream-watch.ts';

const lineOf = (value: unknown) => Buffer.from(`data: ${JSON.stringify(value)}\n\n`);

test('what a model says is counted in bytes on each wire, and nothing else is', (t) => {
  const text = 'so "it" is: "content": "x" 🔎';
  const bytes = Buffer.byteLength(JSON.stringify(text)) - 2;
  const delta = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } };
  t.is(saidIn(lineOf(delta), anthropicMarks.says), bytes);
  const args = { ...delta, delta: { type: 'input_json_delta', partial_json: text } };
  t.is(saidIn(Buffer.concat([lineOf(delta), lineOf(args)]), anthropicMarks.says), 2 * bytes);
  const block = { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } };
  t.is(saidIn(lineOf(block), anthropicMarks.says), 0);
  const call = {
    choices: [{ delta: { content: null, tool_calls: [{ function: { name: 'content', arguments: text } }] } }],
  };
  t.is(saidIn(lineOf(call), chatMarks.says), bytes);
  const done = { type: 'response.output_text.done', text };
  const said = { type: 'response.output_text.delta', delta: text };
  t.is(saidIn(Buffer.concat([lineOf(said), lineOf(done)]), responsesMarks.says), bytes, 'not twice');
  const lines = (...values: string[]) => Buffer.from(values.map((value) => `data: {"delta": ${value}}\n\n`).join(''));
  t.is(saidIn(lines('{"content" : "four", "text": "no"}', '{"content":null}', '"no"'), chatMarks.says), 4);
  t.true(
    saidIn(lines('{"content": "cut \\').subarray(0, -4), chatMarks.says) <= 5,
    'no further than there is something',
  );
});
