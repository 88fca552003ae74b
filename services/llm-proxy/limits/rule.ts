/** Whose calls a rule counts. */
type RuleBy = 'endpoint' | 'model' | 'agent' | 'workstream' | 'key';

/** A bound on calls: so many, or so many tokens, in each window, or so many US dollars in each calendar period (UTC). `match`: one value, or `*` for a counter of its own for each. */
export type Rule = { by: RuleBy; match: string } & (
  | { kind: 'requests' | 'tokens'; limit: number; windowMs: number }
  | { kind: 'usd'; limit: number; per: 'day' | 'month' }
);
