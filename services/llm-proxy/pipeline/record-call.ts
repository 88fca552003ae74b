import { setTimeout as delay } from 'node:timers/promises';
import type { Key } from '../keys/keyring.ts';
import type { Call, Parts } from '../model-call.ts';
import { noUsage } from '../tokens.ts';
import { mayHaveCost } from './ask-model.ts';
import { clientLeft } from './client-left.ts';
import { logHttpCall } from './debug.ts';
import type { End, Operation } from './record.ts';
import { appendToLedger } from './record.ts';

const pendingMax = 4_096;
const togetherMs = 5;

/** Counts a call and begins to write it into the ledger. Resolves at once, unless too many are being written; `onWritten` hears when it is there. */
export async function recordCall(parts: Parts, call: Call, failure?: unknown, onWritten?: () => void): Promise<void> {
  const { told, reached, cache } = call;
  const target = call.target ?? call.targets[0];
  if (call.recorded) return onWritten?.();
  call.recorded = true;
  const model = told.model ?? target?.id ?? call.model;
  const facts = {
    provider: target?.endpoint.name ?? 'none',
    model,
    usage: told.usage ?? noUsage,
    ...(told.estimated ? { estimated: true as const } : {}),
    costUsd: costOf(call, failure),
    latencyMs: Math.round(performance.now() - call.beganMs),
    cache,
  };
  const end = { facts, target, reached, failure, cancelled: failure === clientLeft };
  parts.count(end, operationOf(call));
  if (parts.debug) logHttpCall(parts.logger, call, facts, failure);
  const writing = write(parts, call.key, end);
  const { pending } = parts;
  pending.add(writing);
  void writing.finally(() => {
    pending.delete(writing);
    onWritten?.();
  });
  if (pending.size > pendingMax) await writing;
}

/** Apart, so that what waits for the ledger does not keep the call and its body. */
async function write({ bus, writer, logger }: Parts, { id: key, workstream }: Key, end: End): Promise<void> {
  await soon();
  await appendToLedger(bus, writer, logger, { key, workstream: workstream ?? undefined }, end);
}

let next: Promise<void> | undefined;

/** The same moment for all who ask within a few milliseconds, so that their events go out, and are acknowledged, together. */
function soon(): Promise<void> {
  next ??= delay(togetherMs).then(() => {
    next = undefined;
  });
  return next;
}

const operationOf = ({ route: { kind } }: Call): Operation =>
  kind === 'embeddings' ? kind : kind === 'count' ? 'count_tokens' : 'chat';

function costOf({ told, target, route, reached }: Call, failure: unknown): number | null {
  if (!reached || !target || route.kind === 'count') return 0;
  if (told.usage && (told.ended || told.stopped || told.estimated)) return target.cost(told.usage);
  return failure === undefined || failure === clientLeft || mayHaveCost(failure) ? null : 0;
}
