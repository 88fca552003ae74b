import type { Config } from '../config.ts';
import type { Rule } from '../limits/rule.ts';
import type { ModelsFile } from './schema.ts';

/** RATE_LIMIT_REQUESTS for each endpoint, and the limits and budgets of models.toml. */
export function rulesOf(
  config: Pick<Config, 'RATE_LIMIT_REQUESTS' | 'RATE_LIMIT_WINDOW'>,
  { limits, budgets }: Pick<ModelsFile, 'limits' | 'budgets'>,
): Rule[] {
  const rules: Rule[] = [
    {
      ...{ by: 'endpoint', match: '*', kind: 'requests', setting: 'RATE_LIMIT_REQUESTS' },
      ...{ limit: config.RATE_LIMIT_REQUESTS, windowMs: config.RATE_LIMIT_WINDOW * 1_000 },
    },
  ];
  for (const { by, match, window, ...entry } of limits) {
    for (const kind of ['requests', 'tokens'] as const) {
      const limit = entry[kind];
      if (limit !== undefined) rules.push({ by, match, kind, limit, windowMs: window * 1_000 });
    }
  }
  for (const { by, match, usd, per } of budgets) rules.push({ by, match, kind: 'usd', limit: usd, per });
  return rules;
}
