import type { KeyDraft, KeyEvent, Recorded } from '#shared/contracts/events.ts';
import type { KeyTerms } from '#shared/contracts/key.ts';
import type { KeyView } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';

/** A client key's life. `minted`: the sequence of the event that began it, which is its place in a list. */
export type Key = KeyTerms & {
  id: string;
  hash: string;
  /** `sub` of the token that minted it. */
  owner: string;
  minted: number;
  createdAt: string;
  revokedAt: string | null;
};

export type KeyCommand =
  | { type: 'mint'; terms: KeyTerms; hash: string; owner: string; nowMs: number }
  | { type: 'revoke'; reason: string };

/** What has happened: folds one event into the key. */
export function evolve(key: Key | undefined, event: Recorded<KeyEvent>): Key | undefined {
  switch (event.type) {
    case 'toka.key.minted.v1':
      if (key) return key; // a key is minted once: nothing gives it other terms, or brings it back
      return {
        id: event.subject.slice('key/'.length),
        ...event.data,
        minted: event.seq,
        createdAt: event.time,
        revokedAt: null,
      };
    case 'toka.key.revoked.v1':
      return key && { ...key, revokedAt: key.revokedAt ?? event.time };
  }
}

/** What may happen next: answers a command with events, or throws a Failure. Repeating a revocation yields none. */
export function decide(key: Key | undefined, command: KeyCommand): KeyDraft[] {
  switch (command.type) {
    case 'mint':
      return mint(key, command);
    case 'revoke':
      if (!key) throw new Failure('not-found', 'there is no such key');
      return key.revokedAt === null ? [{ type: 'toka.key.revoked.v1', data: { reason: command.reason } }] : [];
  }
}

function mint(key: Key | undefined, { terms, hash, owner, nowMs }: Extract<KeyCommand, { type: 'mint' }>): KeyDraft[] {
  if (key) {
    throw new Failure(
      'conflict',
      `this Idempotency-Key minted ${key.id} already, and a secret is shown only once; if it is lost, revoke that key and mint another with a new Idempotency-Key`,
    );
  }
  const expiresAt = terms.expiresAt && new Date(terms.expiresAt).toISOString();
  if (expiresAt && Date.parse(expiresAt) <= nowMs) {
    const problem = { field: 'expiresAt', message: 'must be in the future' };
    throw new Failure('invalid', `${problem.field} ${problem.message}`, { problems: [problem] });
  }
  return [{ type: 'toka.key.minted.v1', data: { ...terms, expiresAt, hash, owner } }];
}

/** A key as it is shown at a time: without its hash. */
export function keyView({ hash: _, minted: _minted, ...key }: Key, nowMs: number): KeyView {
  const expired = key.expiresAt !== null && Date.parse(key.expiresAt) <= nowMs;
  return { ...key, state: key.revokedAt !== null ? 'revoked' : expired ? 'expired' : 'active' };
}
