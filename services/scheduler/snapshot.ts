import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Bus } from '#shared/bus/bus.ts';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import { repeat } from '#shared/repeat.ts';
import type { Board } from './board.ts';
import { emptyBoard } from './board.ts';

/** Raise it when the board or a fold changes: an older snapshot is then left aside. */
const version = 5;
const snapshotName = 'scheduler';
const linesPerTurn = 200;
const mapNames = [
  ...['agents', 'former', 'active', 'latest', 'times', 'endedChildren', 'queuedBy', 'refused', 'failures'],
] as const;

/** A board as of a sequence, in compressed lines of JSON: a head, then one for each entry. It is made in turns, so that nothing waits for it. */
export async function pack(board: Board, seq: number): Promise<Uint8Array> {
  // Entries are never changed in place, so this copy stays as it is while the board goes on.
  const entries = mapNames.flatMap((name) => [...board[name]].map(([key, value]) => [name, key, value] as const));
  const lines = [JSON.stringify({ version, seq, session: board.session })];
  for (const [index, entry] of entries.entries()) {
    lines.push(JSON.stringify(entry));
    if (index % linesPerTurn === linesPerTurn - 1) await nextTurn();
  }
  return promisify(gzip)(lines.join('\n'), { level: 1 });
}

/** The board that was packed, and its sequence; undefined where another version made it. */
export async function unpack(bytes: Uint8Array): Promise<{ board: Board; seq: number } | undefined> {
  const [head = '', ...lines] = (await promisify(gunzip)(bytes)).toString('utf8').split('\n');
  const { version: found, seq, session } = JSON.parse(head);
  if (found !== version) return undefined;
  const entries = lines.map((line) => JSON.parse(line) as [string, string, never]);
  const mapOf = (name: string) => new Map(entries.filter(([of]) => of === name).map(([, key, value]) => [key, value]));
  const maps = Object.fromEntries(mapNames.map((name) => [name, mapOf(name)]));
  return { board: { ...maps, session } as Board, seq };
}

/** The board that was kept last, and the sequence that it is as of; an empty one as of 0 where there is none that can be used. */
export async function readSnapshot(bus: Bus, logger: Logger): Promise<{ board: Board; seq: number }> {
  const nothing = { board: emptyBoard(), seq: 0 };
  try {
    const bytes = await bus.snapshots.get(snapshotName);
    const kept = bytes && (await unpack(bytes));
    // The log may be an older one that was brought back: what is not in it has not happened.
    return kept && kept.seq <= (await bus.lastSeq()) ? kept : nothing;
  } catch (error) {
    logger.warn({ reason: messageOf(error) }, 'the kept state cannot be used; the whole log is read');
    return nothing;
  }
}

/** Keeps the board every `everyS` seconds, if this instance leads and the log has gone on. */
export function keepSnapshots(
  stack: AsyncDisposableStack,
  bus: Bus,
  everyS: number,
  state: () => { board: Board; seq: number; leads: boolean },
): void {
  let kept = state().seq;
  repeat(stack, everyS * 1000, async () => {
    const { board, seq, leads } = state();
    if (!leads || seq === kept) return;
    await bus.snapshots.put(snapshotName, await pack(board, seq));
    kept = seq;
  });
}
