import { mayHaveCost } from '../ask-model.ts';
import { appendToLedger } from '../record.ts';
import type { Call, Parts } from './call.ts';
import { clientLeft } from './client-left.ts';

const pendingMax = 4_096;
const nothing = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0 };

/** Counts a call and begins to write it into the ledger. Resolves at once, unless too many are being written. */
export async function recordCall(parts: Parts, call: Call, failure?: unknown): Promise<void> {
  const { told, reached, cache } = call;
  const target = call.target ?? call.targets[0];
  if (call.recorded) return;
  call.recorded = true;
  const model = told.model ?? target?.id ?? call.model;
  const facts = {
    provider: target?.endpoint.name ?? 'none',
    model,
    usage: told.usage ?? nothing,
    costUsd: costOf(call, failure),
    latencyMs: Math.round(performance.now() - call.beganMs),
    cache,
  };
  const end = { facts, reached, failure, cancelled: failure === clientLeft };
  parts.count(end);
  const { bus, writer, logger, pending } = parts;
  const writing = appendToLedger(bus, writer, logger, { key: call.key.id }, end);
  pending.add(writing);
  void writing.finally(() => pending.delete(writing));
  if (pending.size > pendingMax) await writing;
}

function costOf({ told, target, route, reached }: Call, failure: unknown): number | null {
  if (!reached || !target || route.kind === 'count') return 0;
  if (told.usage) return target.cost(told.usage);
  return failure === undefined || failure === clientLeft || mayHaveCost(failure) ? null : 0;
}
