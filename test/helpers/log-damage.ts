import { closeSync, existsSync, openSync, readdirSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { logAccount } from '#shared/bus/users.ts';
import type { TestServer } from './servers.ts';

const damageBytes = 64;

/** The last block of the log's messages, of a nats-server that was killed. */
function lastBlock({ folder }: Pick<TestServer, 'folder'>): { file: string; size: number } {
  // With users, the streams are in an account of their own.
  const account = existsSync(join(folder, 'jetstream', logAccount)) ? logAccount : '$G';
  const messages = join(folder, 'jetstream', account, 'streams', 'EVENTS', 'msgs');
  const numbers = readdirSync(messages)
    .filter((name) => name.endsWith('.blk'))
    .map((name) => Number.parseInt(name, 10));
  const file = join(messages, `${Math.max(...numbers)}.blk`);
  return { file, size: statSync(file).size };
}

/** As a power cut does: what was written last has not reached the disk. */
export function cutLog(nats: Pick<TestServer, 'folder'>, part = 0.5): void {
  const { file, size } = lastBlock(nats);
  truncateSync(file, Math.floor(size * part));
}

/** Bytes in the middle of the block are others. */
export function damageLog(nats: Pick<TestServer, 'folder'>, part = 0.5): void {
  const { file, size } = lastBlock(nats);
  const open = openSync(file, 'r+');
  writeSync(open, Buffer.alloc(damageBytes, 'X'), 0, damageBytes, Math.floor(size * part));
  closeSync(open);
}
