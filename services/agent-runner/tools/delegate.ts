import { z } from 'zod';
import { foldAgent } from '#shared/command.ts';
import type { Definition, Limits } from '#shared/contracts/agent.ts';
import { AgentId } from '#shared/contracts/ids.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { Run } from '#shared/domain/run.ts';
import { definitionOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { runIdFor } from '#shared/ids.ts';
import { allowed, covers } from './capabilities.ts';
import type { OwnContext } from './own.ts';
import { defineTool } from './tool.ts';

const depthMax = 3;

export const delegate = defineTool({
  name: 'delegate',
  description:
    "Gives a piece of work to another agent and waits for its result. It knows nothing of this conversation: say all that it needs. It may do no more than this agent, and spends from this run's budget.",
  needs: 'delegate',
  idempotent: true,
  readOnly: false,
  input: z.strictObject({
    agent: AgentId.describe('The name of the agent.'),
    task: z
      .string()
      .trim()
      .min(1, 'must not be empty')
      .max(20_000)
      .describe('What is to be done, and what to answer with.'),
    share: z
      .number()
      .min(0.01)
      .max(1)
      .default(0.5)
      .describe("The part of what is left of this run's budget that it may spend."),
  }),
  async run({ bus, journal, writer, callId, limits }: OwnContext, { agent, task, share }) {
    const { run } = journal;
    const child = run.children.find((each) => each.callId === callId);
    if (child?.ended) {
      const { status, result } = child.ended;
      return {
        isError: status !== 'completed',
        text: status === 'completed' ? result : `The run ${status}: ${result}`,
      };
    }
    if (child) return { text: '', parked: true };
    const definition = await definitionFor(bus, run, agent, limits, share);
    const runId = runIdFor(run.queuedAt, run.id, callId);
    const work = {
      id: 'delegated',
      kind: 'ad-hoc' as const,
      description: task,
      deliverable: null,
      validation: null,
      validationCommand: null,
      dependsOn: [],
      dependsOnAgents: [],
      priority: run.work.priority,
    };
    const parent = { runId: run.id, callId, depth: (run.parent?.depth ?? 0) + 1 };
    const data = { agentId: agent, trigger: 'delegate' as const, since: callId, definition, work, parent };
    const links = { correlationid: run.id, trace: run.trace };
    const queued = newEvent({ type: 'toka.run.queued.v1', data }, `run/${runId}`, writer, links);
    await bus.append(queued, 0).catch((error) => {
      if (!(error instanceof Failure && error.code === 'conflict')) throw error; // queued before this runner took over
    });
    await journal.record({ type: 'toka.run.delegated.v1', data: { callId, runId, agentId: agent } });
    return { text: '', parked: true };
  },
});

async function definitionFor(
  bus: OwnContext['bus'],
  run: Run,
  name: string,
  limits: RunLimits,
  share: number,
): Promise<Definition> {
  if ((run.parent?.depth ?? 0) >= depthMax)
    throw new Failure('invalid', `work is handed on ${depthMax} times at most: do it here`);
  if (!mayDelegate(run.definition, name))
    throw new Failure('invalid', `agent: this agent may not delegate to "${name}"`);
  const agent = foldAgent(await bus.read('agent', name));
  const { workstream } = run.definition;
  // Workstreams may be kept apart: who writes an agent in one must not get at those of another by it.
  if (agent?.status !== 'active' || agent.spec.workstream !== workstream)
    throw new Failure('invalid', `agent: there is no active agent "${name}" in the workstream "${workstream}"`);
  return narrowed(definitionOf(agent.spec), run, limits, share);
}

/** Whether an agent whose call was let through may hand work to this one: by what is secondary only where that was what it needed leave for. */
export function mayDelegate({ capabilities }: Definition, name: string): boolean {
  const atOnce = allowed(capabilities.primary);
  const may = covers(atOnce, 'delegate') ? atOnce : allowed(capabilities.secondary);
  return may.has('delegate') || may.has(`delegate:${name}`);
}

/** Another agent's definition, with no more capabilities, hosts, limits and budget than the run that asks has itself. */
export function narrowed(child: Definition, run: Run, limits: RunLimits, share: number): Definition {
  const { definition } = run;
  const mine = {
    primary: allowed(definition.capabilities.primary),
    all: allowed([...definition.capabilities.primary, ...definition.capabilities.secondary]),
  };
  const within = (may: ReadonlySet<string>) => (name: string) => [...allowed([name])].every((each) => may.has(each));
  const network = definition.network.allow;
  return {
    ...child,
    capabilities: {
      primary: child.capabilities.primary.filter(within(mine.primary)),
      secondary: [
        ...child.capabilities.secondary,
        ...child.capabilities.primary.filter((name) => !within(mine.primary)(name)),
      ].filter(within(mine.all)),
    },
    network: { allow: child.network.allow.filter((host) => network.includes(host)) },
    approvals: {
      ...child.approvals,
      required: [...new Set([...child.approvals.required, ...definition.approvals.required])],
    },
    limits: {
      ...child.limits,
      ...smaller(child.limits, definition.limits),
      ...budget(child.limits, run, limits, share),
    },
  };
}

function smaller(own: Limits, other: Limits): Limits {
  const part: Limits = {};
  for (const key of ['max_steps', 'timeout', 'memory', 'cpu'] as const) {
    const most = other[key];
    if (most !== undefined) part[key] = Math.min(own[key] ?? most, most);
  }
  return part;
}

function budget(own: Limits, run: Run, limits: RunLimits, share: number): Limits {
  const { inputTokens, outputTokens, costUsd } = run.usage;
  const tokens = Math.max(1, Math.floor((limits.maxTokens - inputTokens - outputTokens) * share));
  const part: Limits = { max_tokens: Math.min(own.max_tokens ?? tokens, tokens) };
  if (limits.maxCostUsd !== null) {
    const cost = Math.max(0.000_001, (limits.maxCostUsd - (costUsd ?? limits.maxCostUsd)) * share);
    part.max_cost_usd = Math.min(own.max_cost_usd ?? cost, cost);
  }
  return part;
}
