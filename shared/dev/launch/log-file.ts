import { closeSync, existsSync, openSync, renameSync, writeSync } from 'node:fs';
import { messageOf } from '#shared/errors.ts';

const bytesMax = 32 * 1024 ** 2;

/** A program's log, which never fails its writer: what the disk does not take is dropped and counted. */
export type LogFile = {
  readonly file: string;
  write(line: string): void;
  /** For a program that writes by itself; undefined: there is none, for the disk takes no file. */
  readonly descriptor: number | undefined;
  [Symbol.dispose](): void;
};

/** Opens a log anew; that of before is kept beside it, as it is when the log has grown to 32 MiB. `say` hears of lines that were dropped. */
export function openLog(file: string, say: (line: string) => void): LogFile {
  let descriptor: number | undefined;
  let bytes = 0;
  let dropped = 0;
  const open = () => {
    if (existsSync(file)) renameSync(file, `${file}.1`);
    const next = openSync(file, 'a', 0o600);
    close();
    descriptor = next;
    bytes = 0;
  };
  const close = () => {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
  };
  const put = (text: string) => {
    if (descriptor === undefined || bytes >= bytesMax) open();
    const written = writeSync(descriptor ?? -1, text);
    bytes += written;
    if (written < Buffer.byteLength(text)) throw new Error('there was no room for the whole of it');
  };
  const drop = (error: unknown) => {
    if (dropped === 0) say(`! ${file} cannot be written (${messageOf(error)}): its lines are dropped until it can`);
    dropped += 1;
  };
  try {
    open();
  } catch {
    // The first line tells.
  }
  return {
    file,
    get descriptor() {
      return descriptor;
    },
    write(line) {
      try {
        if (dropped > 0) {
          const told = `${dropped} lines are missing from ${file}: it could not be written`;
          put(`\n${told}\n`);
          dropped = 0;
          say(`! ${told}`);
        }
        put(`${line}\n`);
      } catch (error) {
        drop(error);
      }
    },
    [Symbol.dispose]: close,
  };
}
