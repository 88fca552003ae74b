import type { KeyEvent, Recorded } from '#shared/contracts/events.ts';
import type { KeyTerms } from '#shared/contracts/key.ts';
import { hashOfSecret, keySecretChars } from '#shared/secrets.ts';
import type { Rule } from '../limits/rule.ts';
import { allowModels } from './allow-models.ts';

/** What a client that shows this key may do. */
export type Key = {
  id: string;
  name: string;
  /** As they were given; see `allowsModel`. */
  models: readonly string[];
  allowsModel(name: string): boolean;
  rules: Rule[];
  workstream: string | null;
  expiresAt: string | null;
};

/** The keys that count, folded from their events. */
export type Keyring = {
  apply(event: Recorded<KeyEvent>): void;
  /** The key whose secret `token` is, if it is neither revoked nor expired. Takes as long whatever the token is, and never throws. */
  find(token: string, nowMs: number): Key | undefined;
  /** How many are not revoked. */
  count(): number;
};

/** An empty keyring. A key is known by its secret's hash alone; of a revoked one, only the id is kept. */
export function createKeyring(): Keyring {
  const keys = new Map<string, { key: Key; expiresMs: number }>();
  /** By id; null: it was revoked. */
  const hashes = new Map<string, string | null>();
  return {
    apply(event) {
      const id = event.subject.slice('key/'.length);
      const known = hashes.get(id);
      if (event.type === 'toka.key.minted.v1') {
        const { hash, ...terms } = event.data;
        // The first event counts: no later one gives a key or a secret other terms, or brings it back.
        if (known !== undefined || keys.has(hash)) return;
        const expiresMs = terms.expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(terms.expiresAt);
        keys.set(hash, { key: keyOf(id, terms), expiresMs });
        hashes.set(id, hash);
      } else if (known) {
        keys.delete(known);
        hashes.set(id, null);
      }
    },
    find(token, nowMs) {
      if (token.length !== keySecretChars) return undefined;
      const found = keys.get(hashOfSecret(token));
      return found && nowMs < found.expiresMs ? found.key : undefined;
    },
    count: () => keys.size,
  };
}

const keyOf = (id: string, { name, models, limits, budget, workstream, expiresAt }: KeyTerms): Key => ({
  id,
  name,
  models,
  allowsModel: allowModels(models),
  rules: rulesOf(id, limits, budget),
  workstream,
  expiresAt,
});

function rulesOf(id: string, limits: KeyTerms['limits'], budget: KeyTerms['budget']): Rule[] {
  const rules: Rule[] = [];
  for (const kind of ['requests', 'tokens'] as const) {
    const limit = limits?.[kind];
    if (limits && limit !== undefined)
      rules.push({ by: 'key', match: id, kind, limit, windowMs: limits.window * 1_000 });
  }
  if (budget) rules.push({ by: 'key', match: id, kind: 'usd', limit: budget.usd, per: budget.per });
  return rules;
}
