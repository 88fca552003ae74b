import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openBus } from '#shared/bus/bus.ts';
import { commandRun } from '#shared/command.ts';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { Draft } from '#shared/contracts/events.ts';
import type { ToolCall } from '#shared/contracts/llm.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { createLogger } from '#shared/log.ts';
import { createMetrics } from '#shared/metrics.ts';
import { readSettings } from '#shared/settings.ts';
import { createSlots } from '#shared/slots.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { dispatched, facts, started } from '#test/helpers/events.ts';
import { startNats } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { callTool, callTools } from '../../services/agent-runner/call-tool.ts';
import { Config } from '../../services/agent-runner/config.ts';
import { openJournal } from '../../services/agent-runner/journal.ts';
import { openSandboxes } from '../../services/agent-runner/sandbox/sandboxes.ts';
import { openToolbox } from '../../services/agent-runner/toolbox.ts';

export const { signal } = new AbortController();
const writer = { source: '/toka/test/1', actor: 'service:test' };
/** A person. */
export const boss = { source: '/toka/gateway/1', actor: 'user:boss' };
export const limits = { maxSteps: 9, maxTokens: 1_000, maxCostUsd: null, timeoutS: 60, contextTokens: 1_000 };

/** A server of the outside, and what it was asked for. */
export async function startOutside(stack: AsyncDisposableStack) {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end('the outside');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return { seen, authority: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Runs of agents on a runner's own parts: a real bus, a real sandbox. Settings are the runner's variables. */
export async function openRunner(
  stack: AsyncDisposableStack,
  { places = 2, settings = {} }: { places?: number; settings?: Record<string, string> } = {},
) {
  const nats = stack.use(await startNats());
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const WORKSPACE_DIR = stack.use(await temporaryFolder()).path;
  const config = readSettings(Config, {
    CONFIG_FILE: 'none',
    WORKSPACE_DIR,
    EGRESS_EXEMPT: '127.0.0.1:1',
    ...settings,
  });
  const logger = createLogger('agent-runner', 'test', 'silent');
  let taken = 0;
  const slots = createSlots(places, (now) => {
    taken = now;
  });
  const sandboxes = stack.use(await openSandboxes(config, 'test', slots, logger));
  const metrics = createMetrics('agent-runner', 'test', 10);
  const runner = { bus, config, writer, instance: 'test', logger, metrics, sandboxes, secret: () => undefined };
  const begin = async (agent: Partial<AgentInput>, timeoutS = limits.timeoutS) => {
    const id = newId('run');
    const spec = agentSpec(agent);
    const [work] = worksOf(spec);
    if (!work) throw new Error('the agent has no work');
    const definition = definitionOf(spec);
    const data = { agentId: spec.name, trigger: 'objective' as const, since: 'evt_1', definition, work, parent: null };
    await bus.append(newEvent({ type: 'toka.run.queued.v1', data }, `run/${id}`, writer), 0);
    const journal = await openJournal(bus, id, writer);
    if (!journal) throw new Error('there is no run');
    await journal.record(dispatched as Draft<'toka.run.dispatched.v1'>);
    await journal.record(started as Draft<'toka.run.started.v1'>);
    let toolbox = await openToolbox(runner, journal, { ...limits, timeoutS }, signal);
    /** The model asks for these calls, side by side. */
    const ask = async (...calls: [tool: string, args: Record<string, unknown>][]) => {
      const toolCalls: ToolCall[] = calls.map(([tool, args]) => ({ callId: newId('evt'), tool, args }));
      await journal.record({
        type: 'toka.run.step-completed.v1',
        data: {
          ...facts,
          calls: toolCalls.map(({ callId, tool }) => ({ callId, tool })),
          answer: { text: '', toolCalls, stopReason: 'tool-calls' },
        },
      });
      await callTools({ runner, journal, toolbox, signal }, journal.run.pending);
    };
    const again = async () => {
      const [call] = journal.run.pending;
      if (call) await callTool({ runner, journal, toolbox, signal }, call);
    };
    const result = () => {
      const last = journal.messages.at(-1);
      return last?.role === 'tool' ? last.text : '';
    };
    const decide = async (decision: 'approved' | 'denied') => {
      const approvalId = journal.run.approvals.at(-1)?.id ?? '';
      const command = { type: 'decide', decided: { approvalId, decision, reason: null } } as const;
      await commandRun(bus, journal.run.id, command, boss);
      await journal.refresh();
      await again();
    };
    /** Another runner takes the run over: it has a toolbox of its own. */
    const reopen = async () => {
      await toolbox[Symbol.asyncDispose]();
      toolbox = await openToolbox(runner, journal, { ...limits, timeoutS }, signal);
    };
    return {
      journal,
      get toolbox() {
        return toolbox;
      },
      ask,
      decide,
      result,
      reopen,
      [Symbol.asyncDispose]: () => toolbox[Symbol.asyncDispose](),
    };
  };
  return { begin, runner, artifact: bus.artifacts.get, taken: () => taken };
}
