import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { Killed } from './contracts/events.ts';
import { limitLabel } from './label-limit.ts';

const secondsBuckets = [0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];
const runSecondsBuckets = [1, 5, 15, 60, 300, 1_800, 7_200];
// As OpenTelemetry's conventions have them; two more for calls that take until LLM_TIMEOUT.
const operationSecondsBuckets = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const longSecondsBuckets = [163.84, 327.68];
const tokensBuckets = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];
const operationLabels = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const;
const commitSecondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2];
const ended = [{ status: 'completed' }, { status: 'failed' }, { status: 'cancelled' }];

/**
 * Every metric of Toka, declared once; a process exports those of its service. Names follow Prometheus' conventions: base units,
 * `_total` for what only grows. An `agent` label takes `agentLabel(id)`, so that it is bounded.
 */
export function createMetrics(service: string, instance: string, agentsMax: number) {
  const registry = new Registry();
  registry.setDefaultLabels({ service, instance });
  const of = (...owners: string[]) => makers(owners.includes(service) ? [registry] : []);
  return {
    registry,
    collectProcess: () => collectDefaultMetrics({ register: registry }),
    agentLabel: limitLabel(agentsMax),
    ...schedulerMetrics(of('scheduler')),
    ...runnerMetrics(of('agent-runner')),
    ...agentMetrics(of('scheduler', 'agent-runner', 'llm-proxy')),
    ...genAiMetrics(of('llm-proxy')),
    ...llmMetrics(of('llm-proxy')),
    ...redisMetrics(of('llm-proxy')),
    ...archiveMetrics(of('store')),
    ...serverMetrics(of('store')),
    ...diskMetrics(of('store', 'agent-runner')),
    ...logMetrics(of('gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store')),
    ...httpMetrics(of('gateway')),
    ...webhookMetrics(of('gateway')),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;

function makers(registers: Registry[]) {
  return {
    counter: <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
      new Counter({ name, help, labelNames, registers }),
    gauge: <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
      new Gauge({ name, help, labelNames, registers }),
    /** One that shows nothing before it is first set: nought would mean something. */
    unknown: (name: string, help: string) => {
      const gauge = new Gauge({ name, help, registers });
      gauge.remove();
      return gauge;
    },
    histogram: <L extends string>(
      name: string,
      help: string,
      labelNames: readonly L[] = [],
      buckets: readonly number[] = secondsBuckets,
    ) => new Histogram({ name, help, labelNames, buckets: [...buckets], registers }),
  };
}
type Make = ReturnType<typeof makers>;

/** Runs as a whole: the scheduler folds the log. */
const schedulerMetrics = ({ counter, gauge, unknown, histogram }: Make) => ({
  runsEnded: counter('toka_runs_ended_total', 'Runs that ended, by how', ['status']),
  runSeconds: histogram('toka_run_duration_seconds', "A run's time from its start to its end", ['status']),
  runsByStatus: gauge('toka_runs', 'Runs that have not ended, by status', ['status']),
  oldestWaitSeconds: unknown('toka_run_oldest_wait_seconds', 'How long the run that waits longest has been ready'),
  leader: gauge('toka_scheduler_leader', 'Whether this scheduler is the one that leads'),
  agents: gauge('toka_agents', 'Agents, by status', ['status']),
  spawnTimeouts: counter('toka_spawn_timeouts_total', 'Dispatched runs that no runner started in time'),
});

const runnerMetrics = ({ counter, gauge, histogram }: Make) => ({
  runWaitSeconds: histogram('toka_run_wait_seconds', "A run's time from queued to started"),
  runsActive: gauge('toka_runs_active', 'Runs that this runner executes now'),
  runSlots: gauge('toka_run_slots', 'Runs that this runner executes at a time at most'),
  toolSlots: gauge('toka_tool_slots', 'Processes for tools that this runner may have, by state', ['state']),
  retries: counter('toka_run_retries_total', 'Runs put back to be tried again', ['code']),
  toolCalls: counter('toka_tool_calls_total', 'Tool calls, by tool and outcome', ['tool', 'outcome']),
  toolsKilled: counter('toka_tools_killed_total', 'Tool calls that a limit ended, by limit', ['limit']),
  sandbox: gauge('toka_sandbox', 'How tools are confined: 1 for the tier that is in use', ['tier', 'limits']),
  toolSeconds: histogram('toka_tool_call_duration_seconds', 'Time of a tool call', ['tool']),
});

/** Single agents: runs by the scheduler, tokens and cost by the llm-proxy, what their tools took by the runner. */
const agentMetrics = ({ counter, gauge, histogram }: Make) => ({
  agentRunsEnded: counter('toka_agent_runs_ended_total', "An agent's runs that ended, by how", ['agent', 'status']),
  agentRunSeconds: histogram(
    'toka_agent_run_duration_seconds',
    "Time of an agent's runs from start to end",
    ['agent'],
    runSecondsBuckets,
  ),
  agentRunsActive: gauge('toka_agent_runs_active', "An agent's runs that this runner executes now", ['agent']),
  agentSteps: counter('toka_agent_steps_total', "Model turns of an agent's runs", ['agent']),
  agentToolCalls: counter('toka_agent_tool_calls_total', "An agent's tool calls, by outcome", ['agent', 'outcome']),
  agentCpuSeconds: counter('toka_agent_cpu_seconds_total', "Processor time of an agent's tools", ['agent']),
  agentMemoryPeak: gauge('toka_agent_memory_peak_bytes', "Most memory that an agent's last tool process held", [
    'agent',
  ]),
  agentNetworkBytes: counter(
    'toka_agent_network_bytes_total',
    "Bytes of an agent's model calls, and between its tools and the outside",
    ['agent', 'direction'],
  ),
  egressDenied: counter('toka_agent_egress_denied_total', "Connections of an agent's tools that were refused", [
    'agent',
  ]),
  agentTokens: counter('toka_agent_llm_tokens_total', "Tokens of an agent's model calls, by kind", ['agent', 'kind']),
  agentCost: counter(
    'toka_agent_llm_cost_usd_total',
    "Cost of an agent's model calls with a known price, in US dollars",
    ['agent'],
  ),
  agentBudgetUsed: gauge(
    'toka_agent_budget_used_ratio',
    "How much of a run's limit (tokens, cost, steps) an agent has used, 0 to 1",
    ['agent', 'limit'],
  ),
});

/** Model calls in the names of OpenTelemetry's GenAI conventions; of a call that failed, `error_type` says how. */
const genAiMetrics = ({ histogram }: Make) => ({
  operationSeconds: histogram(
    'gen_ai_client_operation_duration_seconds',
    'Time of a model call that reached its provider',
    [...operationLabels, 'error_type'],
    [...operationSecondsBuckets, ...longSecondsBuckets],
  ),
  firstChunkSeconds: histogram(
    'gen_ai_client_operation_time_to_first_chunk_seconds',
    'Time of a streamed model call until the first of its answer came',
    operationLabels,
    operationSecondsBuckets,
  ),
  tokenUsage: histogram(
    'gen_ai_client_token_usage',
    'Tokens of a model call, by type; cached-input and cache-write are parts of the input',
    [...operationLabels, 'gen_ai_token_type'],
    tokensBuckets,
  ),
});

/** What those conventions have no name for. */
const llmMetrics = ({ counter, gauge, histogram }: Make) => ({
  llmRequests: counter('llm_requests_total', 'Model calls, cached and refused ones too, by outcome', [
    'provider',
    'model',
    'outcome',
  ]),
  llmActive: gauge('llm_requests_active', 'Model calls that this instance makes now'),
  llmActiveClients: gauge('llm_requests_active_clients', 'Model calls that this instance makes now for client keys'),
  llmConcurrency: gauge('llm_requests_active_max', 'Model calls that this instance makes at a time at most'),
  llmSentAway: counter(
    'llm_sent_away_total',
    'Model calls that found no place or no memory, by whose share was used up',
    ['by'],
  ),
  llmMemory: gauge(
    'llm_requests_memory_bytes',
    "Memory that clients' requests take in this instance, as it is counted",
  ),
  llmMemoryMax: gauge('llm_requests_memory_max_bytes', "Memory that clients' requests may take in this instance"),
  llmStale: counter('llm_stale_total', 'Model calls that were not made, for their run had gone on without who asked'),
  llmCost: counter('llm_cost_usd_total', 'Cost of model calls with a known price, in US dollars', [
    'provider',
    'model',
  ]),
  llmCostUnknown: counter('llm_cost_unknown_total', 'Model calls whose price is not known', ['provider', 'model']),
  llmCache: counter('llm_cache_requests_total', 'Model calls by what the response cache did', ['result']),
  llmCacheFrontBytes: gauge('llm_cache_front_bytes', 'Memory of the answers that this instance keeps at hand'),
  llmContext: counter('llm_context_requests_total', 'Model calls of conversations, by whether these were kept here', [
    'result',
  ]),
  llmContextSaved: counter('llm_context_saved_bytes_total', 'Bytes of conversations that calls did not have to carry'),
  llmRateLimited: counter('llm_rate_limited_total', 'Model calls that were refused by our own rate limit'),
  llmBudgetsUnread: counter(
    'llm_budgets_unread_total',
    'Times that what a budget has spent could not be read from the ledger',
  ),
  llmLimitsLocal: gauge('llm_limits_local', 'Whether limits hold by share of each instance, for Redis is away'),
  llmQueueDepth: gauge('llm_queue_depth', 'Model calls of agents that wait for a limit or for room'),
  llmQueueSeconds: histogram(
    'llm_queue_duration_seconds',
    'Time that model calls of agents wait for a limit or for room',
  ),
  llmRateRemaining: gauge('llm_rate_limit_remaining', 'Model calls left in the current window'),
  llmRateLimit: gauge('llm_rate_limit_requests', 'Model calls allowed in each window'),
  llmBreakerOpen: gauge('llm_breaker_open', 'Whether calls to the provider are held back after too many faults', [
    'provider',
  ]),
  llmBreakerRefused: counter('llm_breaker_refused_total', 'Model calls that the open breaker refused', ['provider']),
  llmRetries: counter('llm_retries_total', 'Model calls that were tried again at the same endpoint, by why', [
    'endpoint',
    'reason',
  ]),
  llmFallbacks: counter('llm_fallbacks_total', 'Model calls that went on to another endpoint or model', ['from', 'to']),
  llmModelsFileOk: gauge('llm_models_file_ok', 'Whether MODELS_FILE as it is now was taken, and not refused'),
});

const redisMetrics = ({ counter, gauge, unknown }: Make) => ({
  redisUp: unknown('toka_redis_up', 'Whether Redis answers this instance'),
  redisMemory: gauge('toka_redis_memory_bytes', 'Memory that Redis uses'),
  redisMemoryMax: unknown('toka_redis_memory_max_bytes', 'Memory that Redis may use'),
  redisClients: gauge('toka_redis_clients', 'Connections that Redis has'),
  redisKeys: gauge('toka_redis_keys', 'Keys that Redis holds'),
  redisEvicted: counter(
    'toka_redis_evicted_keys_total',
    'Keys that Redis gave up for want of memory, since it started',
  ),
  redisPersisting: unknown('toka_redis_persistence_ok', 'Whether the last write of Redis to its file went well'),
});

/** SQLite, and the copy of the log in it. */
const archiveMetrics = ({ counter, gauge, unknown, histogram }: Make) => ({
  archiveSeq: gauge('toka_archive_sequence', 'Sequence of the last event in SQLite'),
  archiveLag: gauge('toka_archive_lag_events', 'Events in the log that are not in SQLite yet'),
  archiveCommitSeconds: histogram(
    'toka_archive_commit_seconds',
    'Time of one commit to SQLite',
    [],
    commitSecondsBuckets,
  ),
  archiveEvents: counter('toka_archive_events_total', 'Events committed to SQLite'),
  archiveOdd: gauge(
    'toka_archive_odd_messages',
    'Messages in the log that are no event of ours, or not where they may be',
  ),
  archiveBytes: gauge('toka_archive_bytes', 'Size of the SQLite file and its write-ahead log', ['file']),
  logRefused: unknown(
    'toka_log_refused',
    'Whether the log is not what the archive holds, so that nothing is written to it',
  ),
  auditBroken: unknown('toka_audit_chain_broken', 'Whether the last check found the hash chain broken'),
  auditLogBroken: unknown(
    'toka_audit_log_broken',
    'Whether the last check found events of the archive missing in the log, or others there',
  ),
  auditChecked: unknown('toka_audit_checked_timestamp_seconds', 'When the hash chain was last checked'),
});

/** The log, as whoever reads it finds it. */
const logMetrics = ({ counter }: Make) => ({
  logPassedOver: counter(
    'toka_log_passed_over_total',
    'Messages of the log that were read and do not count: no events of ours (odd), or of a newer version',
    ['kind'],
  ),
});

const diskMetrics = ({ gauge }: Make) => ({
  diskFree: gauge('toka_disk_free_bytes', 'Free space where this instance writes, by what it keeps there', ['volume']),
  diskSize: gauge('toka_disk_size_bytes', 'Size of the file system where this instance writes', ['volume']),
});

/** NATS, as the store sees it. */
const serverMetrics = ({ counter, gauge, unknown }: Make) => ({
  logSeq: unknown('toka_log_sequence', 'Sequence of the last event in the log'),
  streamMessages: gauge('toka_jetstream_stream_messages', 'Messages in a stream', ['stream']),
  streamBytes: gauge('toka_jetstream_stream_bytes', 'Bytes of a stream', ['stream']),
  streamReplicasCurrent: gauge('toka_jetstream_stream_replicas', 'Up-to-date copies of a stream', ['stream']),
  consumerPending: gauge('toka_jetstream_consumer_pending', 'Messages that a consumer was not given yet', [
    'stream',
    'consumer',
  ]),
  consumerUnacked: gauge(
    'toka_jetstream_consumer_unacknowledged',
    'Messages given to a consumer and not acknowledged',
    ['stream', 'consumer'],
  ),
  storageBytes: gauge('toka_jetstream_storage_bytes', 'Bytes on disk that JetStream uses'),
  storageMax: unknown('toka_jetstream_storage_max_bytes', 'Bytes on disk that JetStream may use'),
  natsUp: gauge('toka_nats_up', 'Whether a NATS server answers on its monitoring port', ['server']),
  natsConnections: gauge('toka_nats_connections', 'Connections of a NATS server', ['server']),
  natsMemory: gauge('toka_nats_memory_bytes', 'Memory of a NATS server', ['server']),
  natsCpu: gauge('toka_nats_cpu_ratio', 'Processors that a NATS server uses', ['server']),
  natsMessages: counter('toka_nats_messages_total', 'Messages of a NATS server, by direction', ['server', 'direction']),
  natsSlowConsumers: counter('toka_nats_slow_consumers_total', 'Connections that a NATS server cut for being slow', [
    'server',
  ]),
});

const httpMetrics = ({ counter, gauge, histogram }: Make) => ({
  httpRequests: counter('toka_http_requests_total', 'HTTP requests, by route, method and status', [
    'route',
    'method',
    'status',
  ]),
  httpSeconds: histogram('toka_http_request_duration_seconds', 'Time of an HTTP request', ['route', 'method']),
  sseClients: gauge('toka_sse_clients', 'Open event streams, and requests that wait for a run'),
  bodyBytes: gauge('toka_http_body_bytes', "Bytes of requests' bodies that are in memory or on their way"),
});

const webhookMetrics = ({ counter, gauge, histogram }: Make) => ({
  webhooks: gauge('toka_webhooks', 'Webhooks, by state', ['state']),
  webhookDeliveries: counter('toka_webhook_deliveries_total', 'Tries to deliver an event to a webhook, by outcome', [
    'outcome',
  ]),
  webhookSeconds: histogram('toka_webhook_delivery_duration_seconds', 'Time of a try to deliver an event to a webhook'),
  webhookLag: gauge('toka_webhook_lag_seconds', 'Age of the event that a webhook is at; 0 where it has them all', [
    'webhook',
  ]),
  webhooksDisabled: counter('toka_webhooks_disabled_total', 'Webhooks that were disabled for not taking what came'),
});

/** Starts what may never happen at zero: a rate over it is then nought, and not nothing. */
export function startAtZero(metrics: Metrics, service: string): void {
  for (const kind of ['odd', 'newer']) metrics.logPassedOver.inc({ kind }, 0);
  if (service === 'scheduler') for (const labels of ended) metrics.runsEnded.inc(labels, 0);
  if (service === 'gateway') {
    for (const outcome of ['delivered', 'failed', 'gone']) metrics.webhookDeliveries.inc({ outcome }, 0);
    for (const state of ['active', 'disabled']) metrics.webhooks.set({ state }, 0);
  }
  if (service === 'agent-runner') {
    metrics.runsActive.set(0);
    for (const code of ['unavailable', 'timeout', 'limited', 'upstream']) metrics.retries.inc({ code }, 0);
    for (const limit of Killed.options) metrics.toolsKilled.inc({ limit }, 0);
  }
  if (service === 'llm-proxy') {
    for (const result of ['hit', 'miss', 'bypass', 'coalesced']) metrics.llmCache.inc({ result }, 0);
    for (const result of ['hit', 'miss', 'whole']) metrics.llmContext.inc({ result }, 0);
    for (const by of ['places', 'key-places', 'memory', 'key-memory']) metrics.llmSentAway.inc({ by }, 0);
  }
}
