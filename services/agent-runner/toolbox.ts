import type { Duplex } from 'node:stream';
import type { Definition } from '#shared/contracts/agent.ts';
import type { Snapshot } from '#shared/contracts/artifact.ts';
import type { ToolOffer } from '#shared/contracts/llm.ts';
import { labelsAmong } from '#shared/domain/capabilities.ts';
import type { Wanted } from '#shared/domain/grants.ts';
import { isOffered } from '#shared/domain/grants.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import type { ToolResult } from './sandbox/lease.ts';
import type { Servers } from './servers.ts';
import { connectServers } from './servers.ts';
import { findOwnTool, ownTools } from './tools/own.ts';
import { findSandboxTool, sandboxTools } from './tools/sandboxed.ts';
import { wayOutOf } from './way-out.ts';
import type { Workbench } from './workbench.ts';
import { openWorkbench } from './workbench.ts';

const warnedMax = 1_000;

export type Outcome = ToolResult & { snapshot?: Snapshot; parked?: boolean };

/** A tool as the loop sees it, wherever its work is done. */
export type BoxedTool = Wanted & {
  idempotent: boolean;
  readOnly: boolean;
  /** What it is, as one value, where that is not ours to say. */
  print?: string;
  call(callId: string, args: unknown, signal: AbortSignal): Promise<Outcome>;
};

/** All that a run's model may call. */
export type Toolbox = {
  offers: ToolOffer[];
  find(name: string): BoxedTool | undefined;
  /** The tools that leave for a capability lets the agent call. */
  needing(capability: string): readonly { name: string; print?: string }[];
  /** Leads to a sandbox with the run's workspace. */
  workbench: Workbench;
  /** Bytes so far between this run's tools and the outside. */
  traffic(): { bytesIn: number; bytesOut: number };
  [Symbol.asyncDispose](): Promise<void>;
};

export async function openToolbox(
  runner: Runner,
  journal: Journal,
  limits: RunLimits,
  signal: AbortSignal,
): Promise<Toolbox> {
  await using stack = new AsyncDisposableStack();
  const { bus, config, writer } = runner;
  const { definition, work } = journal.run;
  warnOfLabels(runner, definition);
  const egress = wayOutOf(runner, journal);
  if (egress) stack.use(egress);
  const serveEgress = egress && ((connection: Duplex) => egress.serve(connection));
  const workbench = stack.use(openWorkbench({ runner, journal, limits, signal, serveEgress }));
  const servers: Servers = stack.use(await connectServers({ runner, journal, workbench }));
  const usual = config.TOOL_TIMEOUT * 1000;

  const find = (name: string): BoxedTool | undefined => {
    const inside = findSandboxTool(name);
    if (inside)
      return {
        ...inside,
        call: (_, args, cut) =>
          workbench.call(name, args, {
            timeoutMs: timeoutOf(args, usual, config.TOOL_TIMEOUT_MAX * 1000),
            signal: cut,
            readOnly: inside.readOnly,
          }),
      };
    const own = findOwnTool(name);
    if (own)
      return {
        ...own,
        async call(callId, args, cut) {
          const context = { bus, journal, writer, callId, limits, egress, signal: cut, timeoutMs: usual };
          try {
            const { text, isError = false, parked = false } = await own.call(context, args);
            return { text: scrub(text), isError, parked, cpuSeconds: 0, peakBytes: 0 };
          } catch (error) {
            return explained(error);
          }
        },
      };
    return servers.find(name);
  };
  const all = [...sandboxTools, ...ownTools, ...servers.tools];
  const offers = all
    .filter((tool) => (tool.needs === null ? work.deliverable !== null : isOffered(definition, tool)))
    .map(({ name, description, inputSchema }) => ({ name, description, inputSchema }));
  const owned = stack.move();
  return {
    offers,
    find,
    needing: (capability) => all.filter(({ needs }) => needs === capability),
    workbench,
    traffic: () => egress?.traffic() ?? { bytesIn: 0, bytesOut: 0 },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const warned = new Set<string>();

/** A capability that no tool knows grants nothing: it is said once, for it may be a slip. */
function warnOfLabels({ logger }: Runner, { name, capabilities }: Definition): void {
  for (const label of labelsAmong([...capabilities.primary, ...capabilities.secondary])) {
    if (warned.has(`${name} ${label}`) || warned.size > warnedMax) continue;
    warned.add(`${name} ${label}`);
    logger.warn({ agent: name, capability: label }, 'no tool knows this capability: it is a label, and grants nothing');
  }
}

/** What the model asked for in its arguments, within bounds. */
function timeoutOf(args: unknown, usualMs: number, maxMs: number): number {
  const asked = typeof args === 'object' && args !== null && 'timeout' in args ? Number(args.timeout) * 1000 : usualMs;
  return Number.isFinite(asked) && asked > 0 ? Math.min(asked, maxMs) : usualMs;
}

/** What a model can go on with: it was wrong, or the other side was. */
const mendable: ReadonlySet<FailureCode> = new Set([
  'invalid',
  'not-found',
  'too-large',
  'forbidden',
  'upstream',
  'timeout',
]);

/** What a tool that threw says to the model; what is no fault of its own goes on to whoever called. */
export function explained(error: unknown): Outcome {
  if (error instanceof Failure && mendable.has(error.code))
    return { isError: true, text: scrub(messageOf(error)), cpuSeconds: 0, peakBytes: 0 };
  throw error;
}
