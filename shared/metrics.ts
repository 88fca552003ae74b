import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const secondsBuckets = [0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];

/** Every metric of Toka, declared once. A process exports all of them; what it never touches stays without a sample. */
export function createMetrics(service: string, instance: string) {
  const registry = new Registry();
  registry.setDefaultLabels({ service, instance });
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Histogram({ name, help, labelNames, buckets: secondsBuckets, registers });

  return {
    registry,
    collectProcess: () => collectDefaultMetrics({ register: registry }),

    runsEnded: counter('toka_runs_ended_total', 'Runs that ended, by how', ['status']),
    runSeconds: histogram('toka_run_duration_seconds', "A run's time from its start to its end", ['status']),
    runWaitSeconds: histogram('toka_run_wait_seconds', "A run's time from queued to started"),
    runsActive: gauge('toka_runs_active', 'Runs that this runner executes now'),
    runsByStatus: gauge('toka_runs', 'Runs that have not ended, by status', ['status']),
    agents: gauge('toka_agents', 'Agents, by status', ['status']),
    spawnTimeouts: counter('toka_spawn_timeouts_total', 'Dispatched runs that no runner started in time'),
    retries: counter('toka_run_retries_total', 'Runs put back to be tried again', ['code']),
    toolCalls: counter('toka_tool_calls_total', 'Tool calls, by tool and outcome', ['tool', 'outcome']),

    llmRequests: counter('llm_requests_total', 'Model calls, by provider, model and outcome', [
      'provider',
      'model',
      'outcome',
    ]),
    llmSeconds: histogram('llm_request_duration_seconds', 'Time of a model call that reached its provider', [
      'provider',
      'model',
    ]),
    llmTokens: counter('llm_tokens_total', 'Tokens, by provider, model and kind', ['provider', 'model', 'kind']),
    llmCost: counter('llm_cost_usd_total', 'Cost of model calls with a known price, in US dollars', [
      'provider',
      'model',
    ]),
    llmCostUnknown: counter('llm_cost_unknown_total', 'Model calls whose price is not known', ['provider', 'model']),
    llmCache: counter('llm_cache_requests_total', 'Model calls by what the response cache did', ['result']),
    llmRateLimited: counter('llm_rate_limited_total', 'Model calls that were refused by our own rate limit'),
    llmRateRemaining: gauge('llm_rate_limit_remaining', 'Model calls left in the current window'),
    llmRateLimit: gauge('llm_rate_limit_requests', 'Model calls allowed in each window'),

    archiveSeq: gauge('toka_archive_sequence', 'Sequence of the last event in SQLite'),
    archiveLag: gauge('toka_archive_lag_events', 'Events in the log that are not in SQLite yet'),
    archiveCommitSeconds: histogram('toka_archive_commit_seconds', 'Time of one commit to SQLite'),
    archiveEvents: counter('toka_archive_events_total', 'Events committed to SQLite'),

    httpRequests: counter('toka_http_requests_total', 'HTTP requests, by route, method and status', [
      'route',
      'method',
      'status',
    ]),
    httpSeconds: histogram('toka_http_request_duration_seconds', 'Time of an HTTP request', ['route', 'method']),
    sseClients: gauge('toka_sse_clients', 'Open event streams'),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;
