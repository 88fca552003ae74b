import type { KeyObject } from 'node:crypto';
import { createPublicKey, sign, verify } from 'node:crypto';
import type { Checkpoint } from './contracts/store.ts';

/** What is signed: nothing that can be read in two ways. */
const textOf = ({ seq, chainHead, time }: Pick<Checkpoint, 'seq' | 'chainHead' | 'time'>) =>
  Buffer.from(`toka checkpoint\n${seq}\n${chainHead}\n${time}\n`);

/** Says, signed with Ed25519, what the chain of all events up to `seq` came to. */
export function signCheckpoint(key: KeyObject, seq: number, chainHead: string, time: string): Checkpoint {
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('base64');
  const signature = sign(null, textOf({ seq, chainHead, time }), key).toString('base64');
  return { seq, chainHead, time, publicKey, signature };
}

/** Whether it was signed with the key that it names. Whose that is, is another question. */
export function isSigned(checkpoint: Checkpoint): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(checkpoint.publicKey, 'base64'), type: 'spki', format: 'der' });
    return (
      key.asymmetricKeyType === 'ed25519' &&
      verify(null, textOf(checkpoint), key, Buffer.from(checkpoint.signature, 'base64'))
    );
  } catch {
    return false;
  }
}
