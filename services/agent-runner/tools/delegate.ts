import { z } from 'zod';
import { foldAgent } from '#shared/command.ts';
import type { Definition } from '#shared/contracts/agent.ts';
import { AgentId } from '#shared/contracts/ids.ts';
import { delegatedWork, narrowed, whyNotTo } from '#shared/domain/delegation.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { Run } from '#shared/domain/run.ts';
import { definitionOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { runIdFor } from '#shared/ids.ts';
import type { OwnContext } from './own.ts';
import { defineTool } from './tool.ts';

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
    const work = delegatedWork(run, task);
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
  const agent = foldAgent(await bus.read('agent', name));
  const spec = agent?.status === 'active' ? agent.spec : undefined;
  const why = whyNotTo(run, name, spec);
  if (!spec || why !== undefined) throw new Failure('invalid', String(why));
  return narrowed(definitionOf(spec), run, limits, share);
}
