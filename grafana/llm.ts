import { choice, counts, dashboard, dial, lines, number } from './panels.ts';
import { gained, quantile } from './promql.ts';

const of = 'provider=~"$provider"';
const ofOperations = 'gen_ai_provider_name=~"$provider"';
const errors = `sum by (provider) (${gained(`llm_requests_total{${of},outcome!~"ok|limited|spent"}`)})`;
const all = `sum by (provider) (${gained(`llm_requests_total{${of}}`)})`;
const timeOf = (share: number, what = 'duration') =>
  quantile(share, `gen_ai_client_operation_${what}_seconds_bucket{${ofOperations}}`, ['gen_ai_request_model']);
const asked = (result: string) => `sum(${gained(`llm_cache_requests_total{result=~"${result}"}`, '$__range')})`;

const calls = [
  counts({
    title: 'Calls',
    description:
      'In each minute, by provider and outcome. "limited" is a rate limit, ours or the provider\'s; "spent" a budget of ours.',
    unit: 'short',
    queries: {
      '{{provider}} {{outcome}}': `sum by (provider, outcome) (${gained(`llm_requests_total{${of}}`)})`,
    },
  }),
  lines({
    title: 'Share that fails',
    description: 'By five minutes, limits left out. A fifth for five minutes raises an alert.',
    unit: 'percentunit',
    queries: { '{{provider}}': `(${errors} or 0 * ${all}) / clamp_min(${all}, 1)` },
    step: '5m',
    warn: 0.05,
    alarm: 0.2,
    max: 1,
  }),
  lines({
    title: 'Time of a call',
    description: 'Of calls that reached the provider, by five minutes: what a run waits for at each turn.',
    unit: 's',
    queries: {
      '{{gen_ai_request_model}} p50': timeOf(0.5),
      '{{gen_ai_request_model}} p95': timeOf(0.95),
      '{{gen_ai_request_model}} p99': timeOf(0.99),
    },
    step: '5m',
  }),
  lines({
    title: 'Time to the first chunk',
    description: 'Of streamed calls, by five minutes, until the first of the answer came.',
    unit: 's',
    queries: {
      '{{gen_ai_request_model}} p50': timeOf(0.5, 'time_to_first_chunk'),
      '{{gen_ai_request_model}} p95': timeOf(0.95, 'time_to_first_chunk'),
    },
    step: '5m',
  }),
  lines({
    title: 'Calls at once',
    description:
      'Calls under way, those of client keys among them, beside LLM_CONCURRENCY of all llm-proxies. LLM_AGENTS_SHARE percent of it is kept for agents.',
    unit: 'short',
    queries: {
      'under way': 'sum(llm_requests_active)',
      'of client keys': 'sum(llm_requests_active_clients)',
      'at most': 'sum(llm_requests_active_max)',
    },
  }),
  lines({
    title: 'Memory of requests',
    description: "What clients' requests take in the llm-proxy that has most of them, beside LLM_REQUESTS_MEMORY.",
    unit: 'bytes',
    queries: { taken: 'max(llm_requests_memory_bytes)', 'at most': 'max(llm_requests_memory_max_bytes)' },
  }),
  counts({
    title: 'Sent away',
    description:
      'Calls that found no place or no memory: "key-" where the key had its share, else there was none left. They are told when to come again.',
    unit: 'short',
    queries: { '{{by}}': `sum by (by) (${gained('llm_sent_away_total')})` },
  }),
  counts({
    title: 'Asked too late',
    description:
      'Calls of agents that were not made: their run had gone on at another runner, and is not paid for twice.',
    unit: 'short',
    queries: { stale: `sum(${gained('llm_stale_total')}) or vector(0)` },
  }),
  lines({
    title: 'Breaker',
    description: '1 while calls are held back because the provider failed ten times in a row.',
    unit: 'short',
    queries: { '{{provider}}': `max by (provider) (llm_breaker_open{${of}})` },
    alarm: 1,
    max: 1,
  }),
  counts({
    title: 'Refused by the breaker',
    description: 'Calls that were not even tried.',
    unit: 'short',
    queries: { '{{provider}}': `sum by (provider) (${gained(`llm_breaker_refused_total{${of}}`)})` },
  }),
  counts({
    title: 'Tried again',
    description:
      'Calls that were made anew at the same endpoint, and those that went on to another one or to another model.',
    unit: 'short',
    queries: {
      again: `sum(${gained('llm_retries_total')}) or vector(0)`,
      'to another': `sum(${gained('llm_fallbacks_total')}) or vector(0)`,
    },
  }),
];

const money = [
  counts({
    title: 'Tokens',
    description: 'In each minute, by model and type. "cached-input" is part of the input, and cheaper.',
    unit: 'short',
    queries: {
      '{{gen_ai_request_model}} {{gen_ai_token_type}}': `sum by (gen_ai_request_model, gen_ai_token_type) (${gained(`gen_ai_client_token_usage_sum{${ofOperations}}`)})`,
    },
  }),
  lines({
    title: 'Cost an hour',
    description: 'What calls with a known price cost in the hour before each moment, by model.',
    unit: 'currencyUSD',
    queries: { '{{model}}': `sum by (model) (${gained(`llm_cost_usd_total{${of}}`, '1h')})` },
    stacked: true,
  }),
  number({
    title: 'Cost',
    description: 'Over the time shown, of calls with a known price.',
    unit: 'currencyUSD',
    queries: { cost: `sum(${gained(`llm_cost_usd_total{${of}}`, '$__range')})` },
    height: 8,
  }),
  number({
    title: 'Price not known',
    description:
      'Calls in the time shown that no sum of cost contains: their model has no price in config/models.toml.',
    unit: 'short',
    queries: { calls: `sum(${gained(`llm_cost_unknown_total{${of}}`, '$__range')}) or vector(0)` },
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
  counts({
    title: 'Held back',
    description: 'Calls that a limit or budget of ours refused; runs try them again.',
    unit: 'short',
    queries: { calls: `sum(${gained('llm_rate_limited_total')})` },
    width: 10,
  }),
  lines({
    title: 'Waiting',
    description: "Agents' calls that wait for a limit or for room, in all llm-proxies.",
    unit: 'short',
    queries: { calls: 'sum(llm_queue_depth)' },
    width: 9,
  }),
  lines({
    title: 'Time of waiting',
    description: "Of agents' calls, by five minutes, before they reach a provider.",
    unit: 's',
    queries: {
      p50: quantile(0.5, 'llm_queue_duration_seconds_bucket', []),
      p95: quantile(0.95, 'llm_queue_duration_seconds_bucket', []),
    },
    step: '5m',
    width: 9,
  }),
  number({
    title: 'Limits are shared',
    description: 'By all llm-proxies, in Redis; while it is away each keeps to its share of them.',
    unit: 'short',
    queries: { shared: '1 - max(llm_limits_local)' },
    words: { 0: 'no', 1: 'yes' },
    warn: 1,
    lowIsBad: true,
  }),
];

const cache = [
  counts({
    title: 'Response cache',
    description: 'Calls in each minute, by what the cache did: a hit costs nothing, a bypass never asked it.',
    unit: 'short',
    queries: { '{{result}}': `sum by (result) (${gained('llm_cache_requests_total')})` },
  }),
  number({
    title: 'Hits',
    description: 'Share of the calls that asked the cache, over the time shown.',
    unit: 'percentunit',
    queries: {
      share: `${asked('hit')} / ${asked('hit|miss')}`,
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
    description: 'Whether every llm-proxy reaches Redis. Without it nothing is cached, and limits hold by share.',
    unit: 'short',
    queries: { up: 'min(toka_redis_up)' },
    words: { 0: 'no', 1: 'yes' },
    warn: 1,
    lowIsBad: true,
  }),
  number({
    title: 'Redis writes',
    description: 'Whether the last write of Redis to its files went well. A restart loses what was not written.',
    unit: 'short',
    queries: { ok: 'min(toka_redis_persistence_ok)' },
    words: { 0: 'failed', 1: 'well' },
    warn: 1,
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
