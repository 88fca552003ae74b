import type { Bus } from '#shared/bus/bus.ts';
import type { Admin } from '#shared/dev/launch/admin.ts';
import { mendLogFrom } from '#shared/dev/launch/mend.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';

const everyMs = 2_000;

/**
 * What a power cut has taken from the log's end comes back from the archive in `file`. Answers what was done, or why nothing may be: that is
 * for a person, and the store says it, too. Empty: nothing was to do.
 */
export async function fillLog(file: string, admin: Admin): Promise<string> {
  try {
    return (await mendLogFrom(file, admin, 'fill')) ?? '';
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  }
}

type Keeping = {
  stack: AsyncDisposableStack;
  /** Opened as who may all, for whom it is told whether events may be appended. */
  bus: Pick<Bus, 'gate'>;
  admin: Admin;
  /** The stores' files. One that is not there yet is passed over. */
  files: readonly string[];
  say(line: string): void;
};

/**
 * The same from now on: at once, at each start of nats-server, and for as long as no event may be appended; until `stack` is disposed. Stores
 * and services may be running: `mendLog` says why that is safe, and two that fill at once take turns.
 */
export function keepFilled({ stack, bus, admin, files, say }: Keeping): void {
  let compared: string | undefined;
  const told = new Map<string, string>();
  const tell = (what: string, text: string) => {
    if (text && told.get(what) !== text) say(text);
    told.set(what, text);
  };
  repeat(
    stack,
    everyMs,
    async () => {
      const place = bus.gate.place();
      if (place === undefined || (place === compared && (await bus.gate.state()) === 'ok')) return;
      for (const file of files) tell(file, await fillLog(file, admin));
      compared = place;
    },
    (error) => tell('', `the log could not be compared with the archive; trying again (${messageOf(error)})`),
  );
}
