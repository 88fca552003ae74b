import { setTimeout as delay } from 'node:timers/promises';
import type { CallFacts } from '#shared/contracts/llm.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { mayHaveCost } from '../failover/verdict.ts';
import type { AnyCall, End, Parts } from '../model-call.ts';
import { noUsage } from '../tokens.ts';
import { clientLeft } from './client-left.ts';

const pendingMax = 4_096;
const togetherMs = 5;
const appendMsMax = 30_000;

/** What a call took, as it is now. */
export function factsOf(call: AnyCall, failure: unknown): CallFacts {
  const { told, cache } = call;
  const target = call.target ?? call.targets[0];
  return {
    provider: told.provider ?? target?.endpoint.name ?? 'none',
    model: told.model ?? target?.id ?? call.model,
    usage: told.usage ?? noUsage,
    ...(told.estimated ? { estimated: true as const } : {}),
    costUsd: costOf(call, failure),
    latencyMs: Math.round(performance.now() - call.beganMs),
    cache,
  };
}

/**
 * Counts a call and writes it into the ledger. Where the answer does not wait for that, resolves at once, unless too many are being
 * written; `onWritten` hears when it is there.
 */
export async function recordCall(
  parts: Parts,
  call: AnyCall,
  failure?: unknown,
  onWritten?: () => void,
): Promise<void> {
  if (call.recorded) return onWritten?.();
  call.recorded = true;
  const target = call.target ?? call.targets[0];
  const facts = factsOf(call, failure);
  call.facts = facts;
  const end = { facts, target, reached: call.reached, failure, cancelled: failure === clientLeft };
  parts.count(end, call.operation);
  if (parts.debug) call.log?.(facts, failure);
  const { pending } = parts;
  const writing = write(parts, call.payer, end, call.isLedgerFirst);
  pending.add(writing);
  void writing.finally(() => {
    pending.delete(writing);
    onWritten?.();
  });
  if (call.isLedgerFirst || pending.size > pendingMax) await writing;
}

/** Apart, so that what waits for the ledger does not keep the call and its body. */
async function write(parts: Parts, payer: AnyCall['payer'], end: End, isAwaited: boolean): Promise<void> {
  if (!isAwaited) await soon();
  await appendToLedger(parts, payer, end);
}

let next: Promise<void> | undefined;

/** The same moment for all who ask within a few milliseconds, so that their events go out, and are acknowledged, together. */
function soon(): Promise<void> {
  next ??= delay(togetherMs).then(() => {
    next = undefined;
  });
  return next;
}

function costOf({ told, target, operation, reached }: AnyCall, failure: unknown): number | null {
  if (!reached || !target || operation === 'count_tokens') return 0;
  if (told.guessed) return null;
  if (told.usage && (told.ended || told.stopped || told.estimated)) return target.cost(told.usage);
  return failure === undefined || failure === clientLeft || mayHaveCost(failure, told.saidBytes) ? null : 0;
}

/** In a word, for the ledger and for metrics. */
export function outcomeOf({ failure, cancelled }: End): string {
  if (cancelled) return 'cancelled';
  return failure === undefined ? 'ok' : failure instanceof Failure ? failure.code : 'internal';
}

/** Writes a call into the ledger. Calls that neither the provider nor the cache answered are none. */
async function appendToLedger({ bus, writer, logger }: Parts, request: AnyCall['payer'], outcome: End): Promise<void> {
  const { facts, reached, target } = outcome;
  if (!reached && facts.cache !== 'hit' && facts.cache !== 'coalesced') return;
  const { key, agentId = null, runId = null, workstream = null, trace } = request;
  const requestModel = target?.id ?? facts.model;
  const data = { ...facts, key, agentId, runId, workstream, requestModel, outcome: outcomeOf(outcome) };
  const links = runId ? { correlationid: runId, trace } : {};
  try {
    await bus.append(
      newEvent({ type: 'toka.llm.called.v1', data }, `llm/${key}`, writer, links),
      undefined,
      appendMsMax,
    );
  } catch (error) {
    logger.error({ reason: messageOf(error), ...data }, 'a model call is missing from the ledger');
  }
}
