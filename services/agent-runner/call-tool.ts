import type { DataOf } from '#shared/contracts/events.ts';
import type { ToolCall } from '#shared/contracts/llm.ts';
import type { Leave } from '#shared/domain/grants.ts';
import { leaveFor } from '#shared/domain/grants.ts';
import type { PendingCall } from '#shared/domain/run.ts';
import { parseExact } from '#shared/exact-json.ts';
import { idFor } from '#shared/ids.ts';
import { clip } from '#shared/text.ts';
import { deliverableName } from './deliverable.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import type { LeaveText } from './leave-text.ts';
import { isStill, leaveText } from './leave-text.ts';
import type { BoxedTool, Outcome, Toolbox } from './toolbox.ts';

const interrupted = 'This call was interrupted: it may or may not have taken effect. Look before you repeat it.';
const killedWords: Record<NonNullable<Outcome['killed']>, (limits: { memoryBytes: number }) => string> = {
  memory: ({ memoryBytes }) =>
    `killed: memory limit ${Math.round(memoryBytes / 1024 ** 2)} MiB; ask for less at a time`,
  time: () =>
    'killed: it took longer than its time; ask for less at a time, or give it more time where the tool takes a timeout',
  processes: () => 'killed: it started too many processes',
  output: () => 'killed: it wrote too much output; write to a file, or ask for less',
  sandbox: () => 'killed: its sandbox ended',
  interrupted: () => 'interrupted: a person has sent a message',
};

type Work = { runner: Runner; journal: Journal; toolbox: Toolbox; signal: AbortSignal };

/** Makes the call whose turn it is, or asks for leave, and records what came of it. */
export async function callTool(work: Work, call: PendingCall): Promise<void> {
  const { journal, toolbox } = work;
  const tool = toolbox.find(call.tool);
  if (!tool) {
    const known = toolbox.offers.map(({ name }) => name).join(', ') || 'none';
    return returned(work, call, refusal(`There is no tool "${clip(call.tool, 100)}" for you. You have: ${known}.`));
  }
  const problem = callIn(journal, call.callId)?.problem;
  if (problem) return returned(work, call, refusal(`The arguments of ${call.tool} cannot be used, for ${problem}`));
  const leave = leaveNow(work, call, tool);
  if (leave.may !== 'yes' && !(await settle(work, call, tool, leave))) return undefined;
  return await finish(work, call, tool, await begin(work, call, tool));
}

/** Several calls that change nothing, side by side. Those that need leave are left for their turn. */
export async function callTools(work: Work, calls: readonly PendingCall[]): Promise<void> {
  const { journal, toolbox } = work;
  const free = calls.flatMap((call) => {
    const tool = toolbox.find(call.tool);
    const may = tool && leaveNow(work, call, tool).may === 'yes';
    return tool && may && !call.begun && !callIn(journal, call.callId)?.problem ? [{ call, tool }] : [];
  });
  const [first] = calls;
  if (free.length < 2) return first && callTool(work, first);
  const outcomes = await Promise.all(free.map(({ call, tool }) => make(work, call, tool)));
  for (const [index, { call, tool }] of free.entries())
    await finish(work, call, tool, outcomes[index] ?? refusal('lost'));
}

const refusal = (text: string): Outcome => ({ isError: true, text, cpuSeconds: 0, peakBytes: 0 });

/** Whether a call may be made as it is now: what people approved earlier is leave for that, and for nothing that has changed since. */
function leaveNow(work: Work, call: PendingCall, tool: BoxedTool): Leave {
  const { runner, journal } = work;
  const leave = leaveFor(journal.run, call.callId, tool, runner.config.CAPABILITY_VALIDATION);
  if (leave.may !== 'yes') return leave;
  const changed = leave.by.find((asked) => !isStill(asked, call.callId, textFor(work, call, tool, asked.capability)));
  if (!changed) return leave;
  return changed.callId === call.callId
    ? { may: 'refused', why: changedMeanwhile }
    : { may: 'ask', kind: 'capability', capability: changed.capability };
}

const changedMeanwhile = 'what was approved is not what would run now. Make the call again: a person is asked anew';

/** What a person is asked, or was, before this call. */
function textFor({ journal, toolbox }: Work, call: PendingCall, tool: BoxedTool, capability: string | null): LeaveText {
  const { run } = journal;
  return leaveText({
    run,
    tool,
    capability,
    args: argsOf(journal, call.callId, tool),
    covered: capability === null ? [] : toolbox.needing(capability),
    reachesOut: tool.needs === 'network-access' && run.definition.network.allow.length > 0,
  });
}

/** Does what a call without leave needs; answers whether it may be made all the same. */
async function settle(
  work: Work,
  call: PendingCall,
  tool: BoxedTool,
  leave: Exclude<Leave, { may: 'yes' }>,
): Promise<boolean> {
  const { runner, journal } = work;
  const { run } = journal;
  switch (leave.may) {
    case 'ask': {
      const text = textFor(work, call, tool, leave.capability);
      if ('problem' in text) {
        await returned(work, call, refusal(text.problem));
        return false;
      }
      await journal.record({
        type: 'toka.run.approval-requested.v1',
        data: {
          id: idFor('apr', run.queuedAt, run.id, call.callId, leave.kind),
          callId: call.callId,
          kind: leave.kind,
          tool: call.tool,
          capability: leave.capability,
          ...text,
          schema: null,
          expiresAt: new Date(Date.now() + run.definition.approvals.expires * 1000).toISOString(),
        },
      });
      return false;
    }
    case 'refused':
      await returned(work, call, refusal(refusedWords(leave.why)));
      return false;
    case 'missing': {
      const data = { callId: call.callId, tool: call.tool, needs: leave.needs, allowed: leave.anyway };
      if (!call.begun) await journal.record({ type: 'toka.run.capability-missed.v1', data });
      if (leave.anyway && runner.config.CAPABILITY_VALIDATION === 'warn')
        runner.logger.warn(
          { runId: run.id, tool: tool.name, needs: leave.needs },
          'a call outside the grants was let through',
        );
      if (leave.anyway) return true;
      await returned(
        work,
        call,
        refusal(`This agent was not granted "${leave.needs}", which ${call.tool} needs. Go on without it.`),
      );
      return false;
    }
  }
}

const refusedWords = (why: string) =>
  why === changedMeanwhile ? `This was not called: ${why}.` : `A person has refused this: ${why}. Go on without it.`;

async function begin(work: Work, call: PendingCall, tool: BoxedTool): Promise<Outcome> {
  if (call.begun && !tool.idempotent) return refusal(interrupted);
  // What only reads is just made again by the next runner, so nothing need be known of its beginning.
  if (!call.begun && !tool.readOnly)
    await work.journal.record({ type: 'toka.run.tool-called.v1', data: { callId: call.callId, tool: call.tool } });
  return make(work, call, tool);
}

async function make(
  { runner, journal, toolbox, signal }: Work,
  { callId }: PendingCall,
  tool: BoxedTool,
): Promise<Outcome> {
  await journal.current();
  const before = toolbox.traffic();
  const startedMs = performance.now();
  const outcome = await tool.call(callId, argsOf(journal, callId, tool), signal);
  const after = toolbox.traffic();
  const { metrics, config } = runner;
  const agent = metrics.agentLabel(journal.run.agentId);
  const bytesIn = after.bytesIn - before.bytesIn;
  const bytesOut = after.bytesOut - before.bytesOut;
  metrics.agentNetworkBytes.inc({ agent, direction: 'in' }, bytesIn);
  metrics.agentNetworkBytes.inc({ agent, direction: 'out' }, bytesOut);
  metrics.agentCpuSeconds.inc({ agent }, outcome.cpuSeconds);
  if (outcome.peakBytes > 0) metrics.agentMemoryPeak.set({ agent }, outcome.peakBytes);
  if (outcome.killed) metrics.toolsKilled.inc({ limit: outcome.killed });
  const memoryBytes = journal.run.definition.limits.memory ?? config.MAX_MEMORY_PER_AGENT;
  const text = outcome.killed
    ? `${outcome.text}\n[${killedWords[outcome.killed]({ memoryBytes })}]`.trimStart()
    : outcome.text;
  return { ...outcome, text, bytesIn, bytesOut, durationMs: Math.round(performance.now() - startedMs) } as Outcome &
    Took;
}

type Took = { bytesIn: number; bytesOut: number; durationMs: number };

async function finish(work: Work, call: PendingCall, tool: BoxedTool, outcome: Outcome): Promise<void> {
  const { runner, journal } = work;
  if (outcome.parked) return undefined;
  if (!outcome.deliverable) return returned(work, call, outcome, tool.name);
  const { bytes, mediaType, summary, path } = outcome.deliverable;
  return journal.record({
    type: 'toka.run.deliverable-submitted.v1',
    data: {
      callId: call.callId,
      name: deliverableName(journal.run.work, path),
      mediaType,
      summary,
      artifact: await runner.bus.artifacts.put(bytes),
    },
  });
}

async function returned(
  { runner, journal }: Work,
  { callId, tool }: PendingCall,
  outcome: Outcome & Partial<Took>,
  name = 'other',
) {
  const { metrics, bus } = runner;
  const {
    isError,
    text,
    killed,
    snapshot,
    image,
    cpuSeconds,
    peakBytes,
    bytesIn = 0,
    bytesOut = 0,
    durationMs = 0,
  } = outcome;
  const how = isError ? 'error' : 'ok';
  metrics.toolCalls.inc({ tool: name, outcome: how });
  metrics.toolSeconds.observe({ tool: name }, durationMs / 1000);
  metrics.agentToolCalls.inc({ agent: metrics.agentLabel(journal.run.agentId), outcome: how });
  const data: DataOf<'toka.run.tool-returned.v1'> = {
    callId,
    tool,
    isError,
    text,
    durationMs,
    resources: { cpuSeconds, peakBytes, bytesIn, bytesOut },
    ...(killed ? { killed } : {}),
    ...(snapshot ? { snapshot } : {}),
    ...(image ? { image: { mediaType: image.mediaType, artifact: await bus.artifacts.put(image.bytes) } } : {}),
  };
  await journal.record({ type: 'toka.run.tool-returned.v1', data });
}

/** What the model asked for, from the conversation: the state holds only which calls are open. */
function callIn({ messages }: Journal, callId: string): ToolCall | undefined {
  for (const message of messages.toReversed()) {
    if (message.role !== 'assistant') continue;
    const call = message.toolCalls.find((each) => each.callId === callId);
    if (call) return call;
  }
  return undefined;
}

/** An MCP server is sent the numbers that only the text of the arguments has, as they are; our own tools count with theirs. */
function argsOf(journal: Journal, callId: string, { needs }: Pick<BoxedTool, 'needs'>): unknown {
  const { args = {}, json } = callIn(journal, callId) ?? {};
  return json !== undefined && needs?.startsWith('mcp:') ? parseExact(json) : args;
}
