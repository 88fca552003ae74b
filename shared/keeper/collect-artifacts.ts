import { keptMsMin, sha256Of } from '#shared/bus/artifacts.ts';
import type { Bus } from '#shared/bus/bus.ts';
import type { ObjectKeeper } from '#shared/bus/object-keeper.ts';
import type { Copy } from '#shared/bus/objects.ts';
import { hashesAskedMax, Sha256 } from '#shared/contracts/artifact.ts';
import { listNeeded } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { KeeperConfig } from './settings.ts';
import { deliveredSinceOf } from './settings.ts';

/** The collector's two ways to NATS, both as the admin's user. */
type Parts = { artifacts: ObjectKeeper; bus: Pick<Bus, 'ask' | 'logSight'> };

/** `nowMs`, and how young is left alone: for tests. */
type Options = { nowMs?: number; keptMs?: number };

/** What a round took away: `objects` counts the copies of artifacts, `bytes` those of broken uploads, too. */
export type Collected = { objects: number; bytes: number };

/** One artifact by the subject of its info, its copies from the oldest to the newest; `sha256` undefined: it is none that anybody reads. */
type Stored = { subject: string; sha256: string | undefined; copies: Copy[] };

/**
 * One round of collection: takes away the artifacts that nothing needs (`listNeeded` says what does), of those that are needed the copies but
 * the newest, and what broken uploads left; of all that nothing that was written in the last seven days. Throws, and goes no further, where
 * the store does not answer or has not archived all that the log holds: the next round takes up what is left.
 *
 * It first takes away infos, then the chunks that no info names. So whatever somebody writes into an info, the chunks of another's are safe.
 * Two pages of subjects are held in memory at most, whatever the number of artifacts.
 */
export async function collectArtifacts(
  parts: Parts,
  settings: Pick<KeeperConfig, 'DELIVERABLES_MAX_AGE'>,
  options: Options = {},
): Promise<Collected> {
  const { nowMs = Date.now(), keptMs = keptMsMin } = options;
  const untilMs = nowMs - keptMs;
  const deliveredSince = deliveredSinceOf(settings, nowMs);
  let objects = 0;
  for await (const { found } of parts.artifacts.infos())
    for (const some of batchesOf(found))
      objects += await forget(parts, await old(parts, some, untilMs), deliveredSince, untilMs);
  return { objects, bytes: await sweep(parts.artifacts, untilMs) };
}

/** Those that were there before. */
async function old({ artifacts }: Parts, found: readonly { subject: string }[], untilMs: number): Promise<Stored[]> {
  const stored = await Promise.all(
    found.map(async ({ subject }) => ({
      subject,
      sha256: hashOf(artifacts, subject),
      copies: await Array.fromAsync(artifacts.copiesOn(subject)),
    })),
  );
  return stored.filter(({ copies: [oldest] }) => oldest && oldest.timeMs < untilMs);
}

function hashOf(artifacts: ObjectKeeper, subject: string): string | undefined {
  const name = Buffer.from(subject.split('.').at(-1) ?? '', 'base64url').toString();
  return Sha256.safeParse(name).success && artifacts.infoSubject(name) === subject ? name : undefined;
}

/** Takes away infos; answers how many. */
async function forget(
  { artifacts, bus }: Parts,
  some: readonly Stored[],
  deliveredSince: string | null,
  untilMs: number,
): Promise<number> {
  if (some.length === 0) return 0;
  const hashes = some.flatMap(({ sha256 }) => sha256 ?? []);
  // As the log is by now: whoever relied on one of these while it was younger has appended its event, see artifacts.ts.
  const { firstSeq, lastSeq } = await bus.logSight();
  const { needed, seq } = await bus.ask(listNeeded, { hashes, firstSeq, deliveredSince, minSeq: lastSeq });
  if (seq < lastSeq) throw new Failure('unavailable', `the archive is at ${seq} and not yet at ${lastSeq}`);
  const isNeeded = new Set(needed);
  let gone = 0;
  for (const { subject, sha256, copies } of some) {
    const stays = sha256 && isNeeded.has(sha256) ? await newestWhole(artifacts, sha256, copies) : undefined;
    if (sha256 && isNeeded.has(sha256) && !stays) continue;
    const firstYoung = copies.find(({ timeMs }) => timeMs >= untilMs);
    const before = Math.min(stays?.seq ?? Number.POSITIVE_INFINITY, firstYoung?.seq ?? (copies.at(-1)?.seq ?? 0) + 1);
    if ((copies[0]?.seq ?? before) < before) gone += await artifacts.purge(subject, before);
  }
  return gone;
}

/** The copy that will do for all; undefined where none has the bytes that the name says. One alone is not looked at. */
async function newestWhole(
  artifacts: ObjectKeeper,
  sha256: string,
  copies: readonly Copy[],
): Promise<Copy | undefined> {
  if (copies.length === 1) return copies[0];
  for (const copy of copies.toReversed()) {
    const bytes = await artifacts.bytesOf(copy);
    if (bytes && sha256Of(bytes) === sha256) return copy;
  }
  return undefined;
}

/** Takes away the chunks that no info names; answers their bytes. */
async function sweep(artifacts: ObjectKeeper, untilMs: number): Promise<number> {
  let bytes = 0;
  for await (const { found } of artifacts.chunks()) {
    const unnamed = new Map(found.map((each) => [each.subject, each]));
    let removed: number | undefined;
    for await (const page of artifacts.infos()) {
      removed ??= page.removed;
      // Infos that moved from the second page to the first are on neither: their chunks would be taken for nobody's.
      if (page.removed !== removed) throw new Failure('conflict', 'another takes artifacts away at the same time');
      for (const some of batchesOf(page.found))
        await Promise.all(
          some.map(async ({ subject }) => {
            for await (const { info } of artifacts.copiesOn(subject))
              if (info) unnamed.delete(artifacts.chunkSubject(info.nuid));
          }),
        );
    }
    for (const each of unnamed.values()) {
      const upload = await artifacts.uploadOn(each);
      if (!upload || upload.timeMs >= untilMs) continue;
      await artifacts.purge(each.subject);
      bytes += upload.bytes;
    }
  }
  return bytes;
}

function* batchesOf<T>(all: readonly T[]): Generator<T[]> {
  for (let from = 0; from < all.length; from += hashesAskedMax) yield all.slice(from, from + hashesAskedMax);
}
