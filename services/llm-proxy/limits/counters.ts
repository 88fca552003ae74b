import type { Priority } from '#shared/contracts/ids.ts';
import { Failure } from '#shared/errors.ts';
import type { Rule } from './rule.ts';

/** Who asks whom for what: what rules are about. */
export type Asking = {
  endpoint: string;
  model: string;
  /** A client key's id, or `internal`. */
  key: string;
  /** Whether a client asks, with a key of its own. */
  isClient?: boolean;
  agent?: string | undefined;
  workstream?: string | undefined;
  priority: Priority;
  /** The most that the call may take; `usd` is null where the model's price is not known. */
  estimate: { tokens: number; usd: number | null };
  /** Whether the call asks no model for anything, so that it counts for no rule. */
  isFree?: boolean;
  /** A client key's own rules, beside those of all. */
  rules?: readonly Rule[];
  /** Settles once the call is in the ledger; undefined: that need not be known. */
  recorded?: Promise<unknown> | undefined;
};

/** One count that a rule bounds; equal ids are one count, here and in Redis. */
export type Counter = { id: string; rule: Rule; value: string };

/** A counter and what a call takes of it: calls, tokens or millionths of a US dollar. */
export type Share = { counter: Counter; limit: number; amount: number };

const knownMax = 5_000;

/** Finds what a call takes of which counters. Throws as `sharesOf` does. */
export function createShareFinder(rules: () => readonly Rule[]): (asking: Asking) => readonly Share[] {
  const find = createCounterFinder(rules);
  const simple = new WeakMap<readonly Counter[], readonly Share[]>();
  return (asking) => {
    if (asking.isFree) return [];
    const counters = find(asking);
    const known = simple.get(counters);
    if (known) return known;
    const shares = sharesOf(counters, asking);
    // Where only calls are counted, every call takes the same.
    if (counters.every(({ rule }) => rule.kind === 'requests')) simple.set(counters, shares);
    return shares;
  };
}

function createCounterFinder(rules: () => readonly Rule[]): (asking: Asking) => readonly Counter[] {
  let from: readonly Rule[] | undefined;
  const known = new Map<string, readonly Counter[]>();
  const common = (asking: Asking) => {
    const now = rules();
    if (from !== now || known.size > knownMax) known.clear();
    from = now;
    const { endpoint, model, key, agent = '', workstream = '' } = asking;
    const who = `${endpoint}\0${model}\0${key}\0${agent}\0${workstream}`;
    const found = known.get(who);
    if (found) return found;
    const made = countersOf(now, asking);
    known.set(who, made);
    return made;
  };
  return (asking) => {
    const own = asking.rules?.length ? countersOf(asking.rules, asking) : [];
    return own.length > 0 ? [...common(asking), ...own] : common(asking);
  };
}

/** Of rules that count alike, the tighter one holds. */
function countersOf(rules: readonly Rule[], asking: Asking): Counter[] {
  const found = new Map<string, Counter>();
  for (const rule of rules) {
    const value = asking[rule.by];
    if (value === undefined || (rule.match !== '*' && rule.match !== value)) continue;
    const span = rule.kind === 'usd' ? rule.per : rule.windowMs;
    const id = `${rule.kind}:${rule.by}:${rule.match === '*' ? '*' : '='}${value}:${span}`;
    const other = found.get(id);
    if (!other || other.rule.limit > rule.limit) found.set(id, { id, rule, value });
  }
  return [...found.values()];
}

/** What a call takes of each. Throws `too-large` where it can never have it, and `invalid` where that cannot be known. */
function sharesOf(counters: readonly Counter[], { model, estimate }: Asking): Share[] {
  return counters.map((counter) => {
    const { rule } = counter;
    if (rule.kind === 'usd' && estimate.usd === null)
      throw new Failure('invalid', `the model "${model}" has no price in MODELS_FILE, which ${nameOf(counter)} needs`);
    const amount = amountOf(rule, estimate);
    const limit = rule.kind === 'usd' ? millionths(rule.limit) : rule.limit;
    // What is no number is not within it either.
    if (!(amount <= limit))
      throw new Failure(
        'too-large',
        `this call may take ${wordsFor(rule, amount)}, more than all of ${nameOf(counter)}`,
      );
    return { counter, limit, amount };
  });
}

const amountMax = 1e15;

/** In the units of a rule's count, and no more than Redis can count. */
export function amountOf({ kind }: Rule, taken: { tokens: number; usd: number | null }): number {
  if (kind === 'requests') return 1;
  return Math.min(amountMax, kind === 'tokens' ? taken.tokens : millionths(taken.usd ?? 0));
}

/** Rounded up: what is smaller than the unit must count, too. */
const millionths = (usd: number) => Math.ceil(usd * 1e6);

/** So much of a rule's count, in words. */
export const wordsFor = ({ kind }: Rule, amount: number) =>
  kind === 'usd' ? `${amount / 1e6} US dollars` : kind === 'tokens' ? `${amount} tokens` : `${amount} model calls`;

/** `RATE_LIMIT_REQUESTS (100 model calls in 60 seconds)`, or `the budget of the agent "a" (5 US dollars a day, UTC)`. */
export function nameOf({ rule, value }: Counter): string {
  const what = rule.kind === 'usd' ? 'budget' : 'limit';
  const name = rule.setting ?? `the ${what} of the ${rule.by} "${value}"`;
  return rule.kind === 'usd'
    ? `${name} (${rule.limit} US dollars a ${rule.per}, UTC)`
    : `${name} (${wordsFor(rule, rule.limit)} in ${rule.windowMs / 1_000} seconds)`;
}
