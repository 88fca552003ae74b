import test from 'ava';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import { hasBulk } from '#shared/domain/context.ts';
import { ordered, startOfLast } from '#shared/domain/conversation.ts';
import { repeatsOf } from '#shared/domain/loops.ts';
import { scrub } from '#shared/secrets.ts';

const turn = (tool: string, result: string, args: Record<string, unknown> = {}): ChatMessage[] => [
  { role: 'assistant', text: '', toolCalls: [{ callId: tool, tool, args }] },
  { role: 'tool', callId: tool, text: result, isError: false },
];

test('the same calls with the same results are counted, alone and in pairs; anything else begins anew', (t) => {
  const a = turn('a', '1');
  t.is(repeatsOf([]), 1);
  t.is(repeatsOf([...a, ...a, ...a]), 3);
  t.is(repeatsOf([...a, ...turn('b', '2'), ...a, ...turn('b', '2'), ...a, ...turn('b', '2')]), 3);
  t.is(repeatsOf([...a, ...a, ...turn('a', '2')]), 1, 'another result');
  t.is(repeatsOf([...a, ...a, ...turn('a', '1', { x: 1 })]), 1, 'another argument');
  t.is(repeatsOf([...a, ...a, { role: 'user', text: 'Hello' }]), 1, 'a person has spoken');
});

test('what was said between a call and its result comes after the result', (t) => {
  const [call, result] = turn('a', '1');
  const said: ChatMessage = { role: 'user', text: 'Wait' };
  if (!call || !result) return t.fail();
  t.deepEqual(ordered([call, said, result]), [call, result, said]);
  t.deepEqual(ordered([said, call, result]), [said, call, result]);
  t.is(startOfLast([said, call, result, call, result], 1), 3);
});

test('old results are bulk when they are much of the conversation', (t) => {
  const small = Array.from({ length: 6 }, (_, index) => turn(`a${index}`, 'x')).flat();
  t.false(hasBulk([{ role: 'user', text: 'x'.repeat(1_000) }, ...small]));
  t.true(hasBulk([{ role: 'user', text: 'x'.repeat(1_000) }, ...turn('big', 'y'.repeat(2_000)), ...small]));
});

const secrets: [string, string][] = [
  ['an Anthropic key', `sk-ant-api03-${'a1B2'.repeat(12)}`],
  ['an OpenAI key', `sk-proj-${'a1B2'.repeat(12)}`],
  ['a GitHub token', `ghp_${'a1B2c3'.repeat(6)}`],
  ['an AWS key id', 'AKIAIOSFODNN7ABCDEFG'],
  ['an AWS secret', `aws_secret_access_key = ${'a1B2'.repeat(10)}`],
  ['a Slack token', 'xoxb-123456789012-abcdefABCDEF'],
  ['a Google key', `AIza${'a1B2c3D4e'.repeat(3)}a1B2c3D4`],
  ['a JWT', `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.${'a1B2'.repeat(10)}`],
  ['a private key', `-----BEGIN RSA PRIVATE KEY-----\n${'a1B2'.repeat(40)}\n-----END RSA PRIVATE KEY-----`],
  ['a header', 'Authorization: Bearer abcdef0123456789'],
  ['a password in a URL', 'postgres://ann:hunter2hunter@db/x'],
];

/** Of this process's own: others on the machine do not count. */
function processorMs(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  return process.cpuUsage(before).user / 1000;
}

test('what looks like a secret is blotted out, whoever it belongs to; ordinary text is left as it is, and quickly', (t) => {
  for (const [what, secret] of secrets) {
    const clean = scrub(`before ${secret} after`);
    t.true(clean.includes('[secret]'), `${what}: ${clean}`);
    t.false(
      clean.includes(secret.slice(-14)) && !secret.endsWith('-----') && !secret.endsWith('@db/x'),
      `${what}: ${clean}`,
    );
    t.true(clean.startsWith('before ') && clean.endsWith(' after'), what);
  }
  const plain = `sha ${'ab12'.repeat(16)} run_01ARZ3NDEKTSV4RRFFQ69G5FAV task-skill risk-taking https://example.com:8080/a@b the authorization of bearers `;
  t.is(scrub(plain), plain);
  const long = plain.repeat(1_000);
  const ordinaryMs = processorMs(() => t.is(scrub(long), long));
  t.true(ordinaryMs < 500, `${ordinaryMs} ms for ${long.length} characters`);
  for (const hostile of [
    'sk-'.repeat(50_000),
    'eyJ'.repeat(50_000),
    '-----BEGIN PRIVATE KEY-----'.repeat(4_000),
    '://a:'.repeat(40_000),
  ]) {
    const hostileMs = processorMs(() => scrub(hostile));
    t.true(hostileMs < 2_000, `${hostileMs} ms for ${hostile.slice(0, 20)}`);
  }
});
