import { choice, dashboard, dial, lines, number } from './panels.ts';

const of = 'provider=~"$provider"';
const errors = `sum by (provider) (rate(llm_requests_total{${of},outcome!~"ok|limited"}[$__rate_interval]))`;
const all = `sum by (provider) (rate(llm_requests_total{${of}}[$__rate_interval]))`;
const quantile = (share: number) =>
  `histogram_quantile(${share}, sum by (model, le) (rate(llm_request_duration_seconds_bucket{${of}}[$__range])))`;

const calls = [
  lines({
    title: 'Calls',
    description: 'By provider and outcome. "limited" is a rate limit, ours or the provider\'s.',
    unit: 'reqps',
    queries: {
      '{{provider}} {{outcome}}': `sum by (provider, outcome) (rate(llm_requests_total{${of}}[$__rate_interval]))`,
    },
    stacked: true,
  }),
  lines({
    title: 'Share that fails',
    description: 'Limits left out. A fifth for five minutes raises an alert.',
    unit: 'percentunit',
    queries: { '{{provider}}': `(${errors} or 0 * ${all}) / clamp_min(${all}, 1e-9)` },
    warn: 0.05,
    alarm: 0.2,
    max: 1,
  }),
  lines({
    title: 'Time of a call',
    description: 'Of calls that reached the provider, over the time shown.',
    unit: 's',
    queries: { '{{model}} p50': quantile(0.5), '{{model}} p95': quantile(0.95), '{{model}} p99': quantile(0.99) },
  }),
  lines({
    title: 'Calls at once',
    description: 'Calls under way, beside LLM_CONCURRENCY of all llm-proxies.',
    unit: 'short',
    queries: { 'under way': 'sum(llm_requests_active)', 'at most': 'sum(llm_requests_active_max)' },
  }),
  lines({
    title: 'Breaker',
    description: '1 while calls are held back because the provider failed ten times in a row.',
    unit: 'short',
    queries: { '{{provider}}': `max by (provider) (llm_breaker_open{${of}})` },
    alarm: 1,
    max: 1,
  }),
  lines({
    title: 'Refused by the breaker',
    description: 'Calls that were not even tried.',
    unit: 'short',
    queries: { '{{provider}}': `sum by (provider) (increase(llm_breaker_refused_total{${of}}[$__rate_interval]))` },
  }),
];

const money = [
  lines({
    title: 'Tokens',
    description: 'By model and kind. "cached-input" is part of the input, and cheaper.',
    unit: 'short',
    queries: { '{{model}} {{kind}}': `sum by (model, kind) (increase(llm_tokens_total{${of}}[$__rate_interval]))` },
    stacked: true,
  }),
  lines({
    title: 'Cost an hour',
    description: 'At the pace of the moment, by model.',
    unit: 'currencyUSD',
    queries: { '{{model}}': `sum by (model) (rate(llm_cost_usd_total{${of}}[$__rate_interval])) * 3600` },
    stacked: true,
  }),
  number({
    title: 'Cost',
    description: 'Over the time shown, of calls with a known price.',
    unit: 'currencyUSD',
    queries: { cost: `sum(increase(llm_cost_usd_total{${of}}[$__range]))` },
    height: 8,
  }),
  number({
    title: 'Price not known',
    description: 'Calls that no sum of cost contains: their model has no price in config/models.toml.',
    unit: 'short',
    queries: { calls: `sum(llm_cost_unknown_total{${of}}) or vector(0)` },
    warn: 1,
    height: 8,
  }),
];

const limits = [
  dial({
    title: 'Rate limit',
    description: 'Share of RATE_LIMIT_REQUESTS that is used in this window, by all llm-proxies together.',
    unit: 'percentunit',
    queries: { used: '1 - min(llm_rate_limit_remaining) / max(llm_rate_limit_requests)' },
    warn: 0.8,
    alarm: 0.99,
    max: 1,
    height: 8,
  }),
  lines({
    title: 'Left in the window',
    description: 'Model calls that may still begin, beside what a window allows.',
    unit: 'short',
    queries: { left: 'min(llm_rate_limit_remaining)', 'in a window': 'max(llm_rate_limit_requests)' },
    width: 10,
  }),
  lines({
    title: 'Held back',
    description: 'Calls that our own rate limit refused; runs try them again.',
    unit: 'short',
    queries: { calls: 'sum(increase(llm_rate_limited_total[$__rate_interval]))' },
    width: 10,
  }),
];

const cache = [
  lines({
    title: 'Response cache',
    description: 'Calls by what the cache did: a hit costs nothing, a bypass never asked it.',
    unit: 'reqps',
    queries: { '{{result}}': 'sum by (result) (rate(llm_cache_requests_total[$__rate_interval]))' },
    stacked: true,
  }),
  number({
    title: 'Hits',
    description: 'Share of the calls that asked the cache, over the time shown.',
    unit: 'percentunit',
    queries: {
      share:
        'sum(increase(llm_cache_requests_total{result="hit"}[$__range])) / clamp_min(sum(increase(llm_cache_requests_total{result=~"hit|miss"}[$__range])), 1)',
    },
    height: 8,
    max: 1,
  }),
  lines({
    title: "Redis' memory",
    description: 'At its limit Redis gives up the cached answers that were used longest ago.',
    unit: 'bytes',
    queries: { used: 'max(toka_redis_memory_bytes)', limit: 'max(toka_redis_memory_max_bytes)' },
    width: 6,
  }),
  lines({
    title: 'Redis',
    description: 'Keys and connections, and keys given up for want of memory.',
    unit: 'short',
    queries: {
      keys: 'max(toka_redis_keys)',
      connections: 'max(toka_redis_clients)',
      'given up': 'max(increase(toka_redis_evicted_keys_total[$__rate_interval]))',
    },
    width: 6,
  }),
  number({
    title: 'Redis answers',
    description: '1 while every llm-proxy reaches Redis. Without it no model call begins.',
    unit: 'short',
    queries: { up: 'min(toka_redis_up)' },
    warn: 1,
    alarm: 1,
    lowIsBad: true,
  }),
];

export const llm = dashboard(
  {
    uid: 'toka-llm',
    title: 'Toka: LLM providers',
    description: 'Model calls: how many, how fast, how dear, and what holds them back.',
    variables: [choice('provider', 'Provider', 'label_values(llm_requests_total, provider)')],
  },
  { Calls: calls, 'Tokens and cost': money, Limits: limits, 'Cache and Redis': cache },
);
