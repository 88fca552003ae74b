import { LRUCache } from 'lru-cache';
import type { Metrics } from '#shared/metrics.ts';
import type { Cached } from './entry.ts';
import { canKeep } from './entry.ts';

const entriesMax = 10_000;
const overheadBytes = 400;
const sweepMs = 5_000;

/** The answers that this process used last, for a few seconds each. */
export type Front = {
  get(key: string): Cached | undefined;
  /** Keeps an entry that has `leftMs` of its life; a negative one has no end. */
  put(key: string, entry: Cached, leftMs: number): void;
  [Symbol.dispose](): void;
};

type Options = { size: number; bytesMax: number; ttlMs: number };

/** Bounded by entries, by bytes, and by each entry's own end. */
export function createFront({ size, bytesMax, ttlMs }: Options, metrics: Metrics): Front {
  const entries = new LRUCache<string, Cached>({
    max: Math.min(size, entriesMax),
    maxSize: bytesMax,
    ttl: ttlMs,
    ttlResolution: 0,
    sizeCalculation: ({ body }, key) => body.byteLength + key.length + overheadBytes,
  });
  const measure = () => metrics.llmCacheFrontBytes.set(entries.calculatedSize);
  measure();
  // What nobody asks for again would stay until its place is needed.
  const sweeping = setInterval(() => {
    entries.purgeStale();
    measure();
  }, sweepMs).unref();
  return {
    get: (key) => entries.get(key),
    put(key, entry, leftMs) {
      const ttl = Math.floor(leftMs < 0 ? ttlMs : Math.min(ttlMs, leftMs));
      if (ttl < 1 || !canKeep(entry)) return;
      entries.set(key, { ...entry, body: ownBytes(entry.body) }, { ttl });
      measure();
    },
    [Symbol.dispose]() {
      clearInterval(sweeping);
      entries.clear();
      measure();
    },
  };
}

/** A small part of a large block of memory, as sockets read it, would keep all of the block. */
function ownBytes(body: Buffer): Buffer {
  if (body.buffer.byteLength <= body.byteLength + overheadBytes) return body;
  const copy = Buffer.allocUnsafeSlow(body.byteLength);
  body.copy(copy);
  return copy;
}
