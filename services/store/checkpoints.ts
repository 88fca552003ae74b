import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isSigned, signCheckpoint } from '#shared/checkpoint.ts';
import { Checkpoint } from '#shared/contracts/store.ts';
import { Failure, messageOf } from '#shared/errors.ts';

/** Signed words on what the chain of events came to, for a place where whoever changes this one's files cannot reach. */
export type Checkpoints = {
  sign(seq: number, chainHead: string): Checkpoint;
  /** Keeps one beside the archive: a file that is made anew from the log must come to the same. */
  keep(checkpoint: Checkpoint): void;
  /** The last that was kept; undefined where there is none, or none with our signature. */
  last(): Checkpoint | undefined;
};

/** The key is made once, and lies beside the archive's file with the last checkpoint. */
export function openCheckpoints(databaseFile: string): Checkpoints {
  const isKept = databaseFile !== ':memory:';
  const key = isKept ? openKey(join(dirname(databaseFile), 'checkpoint-key.pem')) : newKey();
  const file = `${databaseFile}.checkpoint`;
  const publicKey = signCheckpoint(key, 0, '', '').publicKey;
  return {
    sign: (seq, chainHead) => signCheckpoint(key, seq, chainHead, new Date().toISOString()),
    keep: (checkpoint) => (isKept ? write(file, `${JSON.stringify(checkpoint)}\n`) : undefined),
    last() {
      if (!isKept || !existsSync(file)) return undefined;
      try {
        const found = Checkpoint.parse(JSON.parse(readFileSync(file, 'utf8')));
        return found.publicKey === publicKey && isSigned(found) ? found : undefined;
      } catch {
        return undefined; // cut off, or somebody's: then there is nothing to go by
      }
    },
  };
}

const newKey = () => generateKeyPairSync('ed25519').privateKey;

function openKey(file: string) {
  try {
    if (existsSync(file)) return createPrivateKey(readFileSync(file));
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const key = newKey();
    write(file, key.export({ type: 'pkcs8', format: 'pem' }).toString());
    return key;
  } catch (error) {
    throw new Failure('invalid', `the key for checkpoints, ${file}, cannot be used: ${messageOf(error)}`);
  }
}

function write(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}
