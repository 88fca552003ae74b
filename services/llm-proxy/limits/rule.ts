/** Whose calls a rule counts. */
export type RuleBy = 'endpoint' | 'model' | 'agent' | 'workstream' | 'key';

/** A bound on calls: so many, or so many tokens, in each window, or so many US dollars in each calendar period (UTC). `match`: one value, or `*` for a counter of its own for each. `setting`: what it is called, where it is no entry of a file. */
export type Rule = { by: RuleBy; match: string; setting?: string } & (
  | { kind: 'requests' | 'tokens'; limit: number; windowMs: number }
  | { kind: 'usd'; limit: number; per: 'day' | 'month' }
);
