import { setTimeout as delay } from 'node:timers/promises';
import type { RoomState } from '#shared/disk.ts';
import { inMib, roomOf, roomProblem, stateOf } from '#shared/disk.ts';

const everyMs = 250;

type Options = {
  say(line: string): void;
  /** Hears of each change; nothing is looked at meanwhile. */
  changed(state: RoomState): Promise<void>;
};

/** Watches what room the disk under a folder has, from now on. */
export function watchRoom(folder: string, { say, changed }: Options): { state(): RoomState } & AsyncDisposable {
  const stop = new AbortController();
  let state: RoomState = 'ok';
  const watching = (async () => {
    for (; !stop.signal.aborted; await delay(everyMs, undefined, { signal: stop.signal }).catch(() => undefined)) {
      const room = await roomOf(folder).catch(() => undefined);
      if (!room) continue;
      const next = stateOf(room, state);
      if (next === state) continue;
      state = next;
      say(
        next === 'ok'
          ? `the disk under ${folder} has ${inMib(room.freeBytes)} free: work goes on`
          : `! ${roomProblem(folder, room, next)}; until then new work is refused`,
      );
      await changed(next);
    }
  })();
  return {
    state: () => state,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await watching;
    },
  };
}
