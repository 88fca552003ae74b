import test from 'ava';
import type { Draft } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { started, step } from '#test/helpers/events.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';

// What a model may put into the schema of its question, so that whoever answers keeps the gateway busy. It is put into the log here as it is: what
// a runner lets through is another matter.

const writer = { source: '/toka/test/1', actor: 'service:test' };
type Schema = Record<string, unknown>;

async function ask({ bus, call }: Gateway, schema: Schema | null): Promise<string> {
  const { json } = await call('POST', '/agents/scout/runs', { input: 'x' });
  const id = newId('apr');
  const question: Draft = {
    type: 'toka.run.approval-requested.v1',
    data: {
      ...{ id, callId: 'c1', kind: 'question', tool: 'ask_human', capability: null, question: 'how many?', schema },
      expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    },
  };
  let seq = 0;
  for (const draft of [started, step('x', 'ask_human'), question])
    seq = await bus.append(newEvent(draft, `run/${json.id}`, writer));
  await call('GET', `/approvals?minSeq=${seq}`);
  return id;
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
const slow: [what: string, schema: Schema, answer: unknown][] = [
  [
    'a choice of many for each of many',
    {
      type: 'array',
      items: {
        anyOf: numbers(130).map((i) => ({
          type: 'object',
          required: [`p${i}`],
          properties: { [`p${i}`]: { type: 'number' } },
        })),
      },
    },
    Array(6_000).fill({}),
  ],
  ['a list of many for each of many', { type: 'array', items: { enum: Array(4_800).fill(0) } }, Array(6_500).fill(-1)],
];
const refused: [what: string, schema: Schema, answer: unknown, says: RegExp][] = [
  ['a pattern', { type: 'string', pattern: '(a+)+$' }, `${'a'.repeat(30)}b`, /pattern is not taken/],
  ['a pattern in a list', { type: 'string', pattern: ['(a+)+$'] }, `${'a'.repeat(30)}b`, /pattern is not taken/],
  [
    'patterns of names',
    { type: 'object', propertyNames: { pattern: '(a+)+$' } },
    { [`${'a'.repeat(30)}b`]: 1 },
    /pattern is not taken/,
  ],
  ['a reference to itself', { $ref: '#' }, 1, /\$ref is not taken/],
  ['what is no schema', { type: 'nonsense' }, 1, /cannot be checked/],
  ['a long answer', { type: 'string' }, 'a'.repeat(20_001), /at most 20000 characters/],
];

test('a schema that is costly to check holds up nobody but who answers, and not for long', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  for (const [what, schema, answer] of slow) {
    const id = await ask(gateway, schema);
    let others = 0;
    let isOver = false;
    const answered = call('POST', `/approvals/${id}`, { decision: 'answered', answer }).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      t.is((await call('GET', '/health')).status, 200);
      others += 1;
    }
    const { status, json } = await answered;
    t.is(status, 400, what);
    t.regex(json.detail, /^answer cannot be checked: the schema that the agent asks with takes longer than 1 s/, what);
    t.true(others > 5, `${what}: ${others} others were served meanwhile`);
    const denied = await call('POST', `/approvals/${id}`, { decision: 'denied', reason: 'ask for less' });
    t.is(denied.status, 200, 'there is a way out');
  }
});

test('a schema that could be costly by its form is refused, and the right answers to others are taken', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  for (const [what, schema, answer, says] of refused) {
    const id = await ask(gateway, schema);
    const { status, json } = await call('POST', `/approvals/${id}`, { decision: 'answered', answer });
    t.is(status, 400, `${what}: ${JSON.stringify(json)}`);
    t.regex(json.detail, says, what);
    t.is((await call('GET', '/agents/scout')).status, 200);
  }
  const form = {
    type: 'object',
    properties: { pattern: { type: 'string' }, count: { type: 'integer' } },
    required: ['count'],
  };
  const id = await ask(gateway, form);
  const wrong = await call('POST', `/approvals/${id}`, { decision: 'answered', answer: { count: 'two' } });
  t.is(wrong.status, 400);
  t.deepEqual(
    wrong.json.errors.map(({ field }: { field: string }) => field),
    ['answer.count'],
  );
  const right = { decision: 'answered', answer: { pattern: 'a field may be called so', count: 2 } };
  t.is((await call('POST', `/approvals/${id}`, right)).status, 200);
  const plain = await ask(gateway, null);
  t.is((await call('POST', `/approvals/${plain}`, { decision: 'answered', answer: '' })).status, 400);
  t.is((await call('POST', `/approvals/${plain}`, { decision: 'answered', answer: 'yes' })).status, 200);
});

test('whoever has many answers checked at a time is told to wait, and another is not', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  const [, schema = {}, answer] = slow[1] ?? [];
  const id = await ask(gateway, schema);
  const easy = await ask(gateway, { type: 'integer' });
  const other = { authorization: `Bearer ${await token('admin', { sub: 'bob' })}` };
  const all = Array.from({ length: 8 }, () => call('POST', `/approvals/${id}`, { decision: 'answered', answer }));
  const statuses = await Promise.all([
    ...all,
    call('POST', `/approvals/${easy}`, { decision: 'answered', answer: 7 }, other),
  ]).then((answers) => answers.map(({ status }) => status));
  t.is(statuses.pop(), 200);
  t.deepEqual(statuses.toSorted(), [400, 400, 429, 429, 429, 429, 429, 429]);
});
