import test from 'ava';
import { foldRun } from '#shared/command.ts';
import type { AgentInput } from '#shared/contracts/agent.ts';
import { Bytes } from '#shared/contracts/agent.ts';
import type { Recorded, RunEvent } from '#shared/contracts/events.ts';
import type { Capability } from '#shared/domain/capabilities.ts';
import { mayDelegate, narrowed } from '#shared/domain/delegation.ts';
import { leaveFor } from '#shared/domain/grants.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { recorded } from '#test/helpers/events.ts';

const limits = { maxSteps: 9, maxTokens: 1_000, maxCostUsd: null, timeoutS: 100, contextTokens: 1_000 };
const definition = (agent: Partial<AgentInput>) => definitionOf(agentSpec(agent));

function runOf(agent: Partial<AgentInput>) {
  const spec = agentSpec(agent);
  const [work] = worksOf(spec);
  if (!work) throw new Error('the agent has no work');
  const data = { agentId: spec.name, trigger: 'objective' as const, since: 'evt_1', work, parent: null };
  const queued = { type: 'toka.run.queued.v1' as const, data: { ...data, definition: definitionOf(spec) } };
  const run = foldRun(recorded('run/run_01ARZ3NDEKTSV4RRFFQ69G5FAV', [queued]) as Recorded<RunEvent>[]);
  if (!run) throw new Error('there is no run');
  return run;
}

const rules: [rule: string, granted: string[], needs: Capability, asks: boolean][] = [
  ['build-tools', ['build-tools'], 'shell', true],
  ['test-execution', ['build-tools'], 'shell', true],
  ['build-tools', ['build-tools'], 'filesystem-read', false],
  ['shell', ['build-tools'], 'shell', true],
  ['shell', ['shell'], 'filesystem-write', false],
  ['delegate:bob', ['delegate:bob'], 'delegate', true],
  ['delegate', ['delegate:bob'], 'delegate', true],
  ['mcp:git', ['mcp:git', 'mcp:hub'], 'mcp:git', true],
  ['mcp:git', ['mcp:git', 'mcp:hub'], 'mcp:hub', false],
  ['a-label', ['shell'], 'shell', false],
];

for (const [rule, primary, needs, asks] of rules)
  test(`approvals for capability:${rule} ${asks ? 'are' : 'are not'} asked of a tool that needs ${needs}, granted ${primary}`, (t) => {
    const run = runOf({ capabilities: { primary }, approvals: { required: [`capability:${rule}`] } });
    t.is(leaveFor(run, 'c', { name: 'a-tool', needs }, 'strict').may, asks ? 'ask' : 'yes');
  });

test('who may delegate to one agent alone hands on no leave to delegate to all', (t) => {
  const child = definition({ capabilities: { primary: ['delegate', 'shell'], secondary: ['delegate:bob'] } });
  const of = (primary: string[]) => narrowed(child, runOf({ capabilities: { primary } }), limits, 1).capabilities;
  t.deepEqual(of(['delegate:bob']), { primary: [], secondary: ['delegate:bob'] });
  t.deepEqual(of(['delegate', 'shell']).primary, ['delegate', 'shell']);
});

test('another agent has no larger limits than the run that asks it, and keeps its own smaller ones', (t) => {
  const child = definition({ limits: { memory: '4GB', cpu: 8, max_steps: 2 } });
  const parent = runOf({ limits: { memory: '64MB', cpu: 0.1, max_steps: 3, timeout: 10 } });
  t.deepEqual(narrowed(child, parent, limits, 0.5).limits, {
    memory: Bytes.parse('64MB'),
    cpu: 0.1,
    max_steps: 2,
    timeout: 10,
    max_tokens: 500,
  });
  t.like(narrowed(child, runOf({}), limits, 0.5).limits, { memory: Bytes.parse('4GB'), cpu: 8 });
});

test('leave to delegate by what is secondary is for whom it names, and what is primary asks nobody and gives no more', (t) => {
  const may = (primary: string[], secondary: string[], name: string) =>
    mayDelegate(definition({ capabilities: { primary, secondary } }), name);
  t.true(may(['delegate:bob'], [], 'bob'));
  t.true(may(['delegate'], [], 'carl'));
  t.true(may([], ['delegate:bob'], 'bob'));
  t.false(may([], ['delegate:bob'], 'carl'));
  t.false(may(['delegate:bob'], ['delegate:carl'], 'carl'), 'nobody was asked');
  t.false(may([], [], 'bob'));
});
