import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { Failure } from '#shared/errors.ts';

const algorithm = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

/** Keeps secrets of webhooks in the log so that only those can open them who have JWT_SECRET. Each opens for its own webhook alone. */
export type Seal = {
  close(webhookId: string, secret: string): string;
  open(webhookId: string, sealed: string): string;
  /** The same secret, closed with the newest of the master secrets; undefined where it is, or where none opens it. */
  renew(webhookId: string, sealed: string): string | undefined;
};

/** Closes with the first of the master secrets, and opens what any of them has closed. */
export function createSeal(masterSecrets: readonly [string, ...string[]]): Seal {
  const keys = masterSecrets.map(keyOf);
  const openedBy = (webhookId: string, sealed: string) => {
    for (const [index, key] of keys.entries()) {
      const secret = decrypt(key, webhookId, sealed);
      if (secret !== undefined) return { index, secret };
    }
    return undefined;
  };
  const close = (webhookId: string, secret: string) => encrypt(keys[0] ?? Buffer.alloc(0), webhookId, secret);
  return {
    close,
    open(webhookId, sealed) {
      const opened = openedBy(webhookId, sealed);
      if (opened) return opened.secret;
      throw new Failure(
        'internal',
        'its secret cannot be opened: JWT_SECRET is not the one that it was made with; set that one as JWT_SECRET_PREVIOUS',
      );
    },
    renew(webhookId, sealed) {
      const opened = openedBy(webhookId, sealed);
      return opened && opened.index > 0 ? close(webhookId, opened.secret) : undefined;
    },
  };
}

const keyOf = (secret: string) => Buffer.from(hkdfSync('sha256', secret, '', 'toka: secrets of webhooks, 1', 32));

function encrypt(key: Buffer, webhookId: string, secret: string): string {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv(algorithm, key, iv).setAAD(Buffer.from(webhookId));
  const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url');
}

/** Undefined: with another key, for another webhook, or not by us. */
function decrypt(key: Buffer, webhookId: string, sealed: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url');
  const iv = bytes.subarray(0, ivBytes);
  const tag = bytes.subarray(ivBytes, ivBytes + tagBytes);
  try {
    const options = { authTagLength: tagBytes };
    const decipher = createDecipheriv(algorithm, key, iv, options).setAAD(Buffer.from(webhookId)).setAuthTag(tag);
    return Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]).toString('utf8');
  } catch {
    return undefined;
  }
}
