import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { Failure } from '#shared/errors.ts';

const algorithm = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

/** Keeps secrets of webhooks in the log so that only those can open them who have JWT_SECRET. Each opens for its own webhook alone. */
export type Seal = {
  close(webhookId: string, secret: string): string;
  open(webhookId: string, sealed: string): string;
};

export function createSeal(masterSecret: string): Seal {
  const key = Buffer.from(hkdfSync('sha256', masterSecret, '', 'toka: secrets of webhooks, 1', 32));
  return {
    close(webhookId, secret) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv(algorithm, key, iv).setAAD(Buffer.from(webhookId));
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url');
    },
    open(webhookId, sealed) {
      const bytes = Buffer.from(sealed, 'base64url');
      const iv = bytes.subarray(0, ivBytes);
      const tag = bytes.subarray(ivBytes, ivBytes + tagBytes);
      try {
        const options = { authTagLength: tagBytes };
        const decipher = createDecipheriv(algorithm, key, iv, options).setAAD(Buffer.from(webhookId)).setAuthTag(tag);
        return Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]).toString('utf8');
      } catch (error) {
        throw new Failure('internal', 'its secret cannot be opened: JWT_SECRET is not the one that it was made with', {
          cause: error,
        });
      }
    },
  };
}
