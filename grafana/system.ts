import { counts, dashboard, lines, number } from './panels.ts';
import { gained, quantile } from './promql.ts';

const services = [
  lines({
    title: 'Up',
    description:
      'Containers of each service that answer Prometheus. A line that falls is one that died or was scaled down.',
    unit: 'short',
    queries: { '{{job}}': 'sum by (job) (up)' },
  }),
  lines({
    title: 'Processors',
    description: 'Processors that each service uses, all its containers together.',
    unit: 'short',
    queries: { '{{service}}': 'sum by (service) (rate(process_cpu_seconds_total{service!=""}[$__rate_interval]))' },
    stacked: true,
  }),
  lines({
    title: 'Memory',
    description: 'Resident memory of each container.',
    unit: 'bytes',
    queries: { '{{service}} {{instance}}': 'process_resident_memory_bytes{service!=""}' },
  }),
  lines({
    title: 'Event loop',
    description:
      'How late a service comes to its next piece of work: p99. Half a second for five minutes raises an alert.',
    unit: 's',
    queries: { '{{service}}': 'max by (service) (nodejs_eventloop_lag_p99_seconds)' },
    warn: 0.1,
    alarm: 0.5,
  }),
  lines({
    title: 'Heap',
    description: "JavaScript's own memory. One that only grows is a leak.",
    unit: 'bytes',
    queries: { '{{service}}': 'max by (service) (nodejs_heap_size_used_bytes)' },
  }),
  lines({
    title: 'Garbage collection',
    description: 'Share of time that goes into it.',
    unit: 'percentunit',
    queries: {
      '{{service}}':
        'max by (service) (sum by (service, instance) (rate(nodejs_gc_duration_seconds_sum[$__rate_interval])))',
    },
    warn: 0.1,
  }),
  lines({
    title: 'Open files',
    description:
      'Files and connections that a process holds, in the container with the most. A line that only grows is a leak.',
    unit: 'short',
    queries: { '{{service}}': 'max by (service) (process_open_fds{service!=""})' },
  }),
  lines({
    title: 'Running for',
    description:
      'Since the youngest process of each service started. A saw of short teeth is a service that keeps dying.',
    unit: 's',
    queries: { '{{service}}': 'time() - max by (service) (process_start_time_seconds{service!=""})' },
  }),
  lines({
    title: 'Prometheus',
    description: 'Series that it keeps in memory: what all of this costs it.',
    unit: 'short',
    queries: { series: 'max(prometheus_tsdb_head_series)' },
  }),
];

const log = [
  number({
    title: 'Hash chain',
    description: 'Whether the last check of the archive found every hash right.',
    unit: 'short',
    queries: { broken: 'max(toka_audit_chain_broken)' },
    words: { 0: 'whole', 1: 'broken' },
    alarm: 1,
    height: 8,
  }),
  number({
    title: 'Log and archive',
    description: 'Whether the last check found every event of the archive in the log.',
    unit: 'short',
    queries: { broken: 'max(toka_audit_log_broken)' },
    words: { 0: 'the same', 1: 'differ' },
    alarm: 1,
    height: 8,
  }),
  number({
    title: 'Writing',
    description: 'Whether services write to the log: not until it is what the archive holds.',
    unit: 'short',
    queries: { refused: 'max(toka_log_refused)' },
    words: { 0: 'goes on', 1: 'refused' },
    alarm: 1,
    height: 8,
  }),
  number({
    title: 'Last checked',
    description: 'Since the hash chain was last computed anew.',
    unit: 's',
    queries: { age: 'time() - max(toka_audit_checked_timestamp_seconds)' },
    warn: 90_000,
    alarm: 172_800,
    height: 8,
  }),
  number({
    title: 'Odd messages',
    description:
      'Messages of the log that are no events of ours, or lie where they may not be. Every reader passes over them.',
    unit: 'short',
    queries: { odd: 'max(toka_archive_odd_messages)' },
    alarm: 1,
    height: 8,
  }),
  lines({
    title: 'Passed over',
    description:
      'Messages of the log that a service read and that do not count for it, by whether a newer version wrote them.',
    unit: 'short',
    width: 4,
    queries: { '{{service}} {{kind}}': `sum by (service, kind) (${gained('toka_log_passed_over_total')})` },
  }),
  lines({
    title: 'Behind the log',
    description: 'Events that a store has not written yet.',
    unit: 'short',
    queries: { '{{instance}}': 'toka_archive_lag_events' },
    warn: 1_000,
  }),
  lines({
    title: 'Log and archive',
    description: 'Sequence of the last event in the log, and in the store that is furthest back.',
    unit: 'none',
    queries: { log: 'max(toka_log_sequence)', archive: 'min(toka_archive_sequence)' },
  }),
  lines({
    title: 'Commit to SQLite',
    description: 'Time of a commit, flushed to the disk, by five minutes..',
    unit: 's',
    queries: {
      p50: quantile(0.5, 'toka_archive_commit_seconds_bucket'),
      p99: quantile(0.99, 'toka_archive_commit_seconds_bucket'),
    },
    step: '5m',
    alarm: 0.5,
  }),
  lines({
    title: 'Size of SQLite',
    description: 'The database, and the write-ahead log beside it.',
    unit: 'bytes',
    queries: { '{{file}}': 'max by (file) (toka_archive_bytes)' },
  }),
  lines({
    title: 'Free space',
    description: 'Share that is left where the services write. One tenth raises an alert.',
    unit: 'percentunit',
    queries: { '{{volume}}': 'min by (volume) (toka_disk_free_bytes / toka_disk_size_bytes)' },
    max: 1,
  }),
  lines({
    title: 'Disks',
    description: 'Bytes that are left where the services write, beside the size of the file system.',
    unit: 'bytes',
    queries: {
      '{{volume}} free': 'min by (volume) (toka_disk_free_bytes)',
      '{{volume}} size': 'max by (volume) (toka_disk_size_bytes)',
    },
  }),
];

const nats = [
  lines({
    title: 'Streams',
    description: 'Messages that JetStream holds. TASKS is the queue, and is short when all is well.',
    unit: 'short',
    queries: { '{{stream}}': 'max by (stream) (toka_jetstream_stream_messages)' },
  }),
  lines({
    title: 'Size of streams',
    description: 'Bytes on disk, by stream.',
    unit: 'bytes',
    queries: { '{{stream}}': 'max by (stream) (toka_jetstream_stream_bytes)' },
    stacked: true,
  }),
  lines({
    title: 'Storage',
    description: 'What JetStream uses beside what it may. Four fifths raise an alert.',
    unit: 'bytes',
    queries: { used: 'max(toka_jetstream_storage_bytes)', limit: 'max(toka_jetstream_storage_max_bytes)' },
  }),
  lines({
    title: 'Not delivered yet',
    description: 'Messages that each consumer has before it: those of runners are runs that wait for a place.',
    unit: 'short',
    queries: { '{{consumer}}': 'max by (consumer) (toka_jetstream_consumer_pending)' },
  }),
  lines({
    title: 'Not acknowledged yet',
    description: 'Messages that were given to a consumer and are at work.',
    unit: 'short',
    queries: { '{{consumer}}': 'max by (consumer) (toka_jetstream_consumer_unacknowledged)' },
  }),
  lines({
    title: 'Copies',
    description: 'Copies of each stream that are up to date: 3 in a cluster.',
    unit: 'short',
    queries: { '{{stream}}': 'min by (stream) (toka_jetstream_stream_replicas)' },
  }),
  lines({
    title: 'Messages',
    description: 'Of each NATS server, in and out.',
    unit: 'cps',
    queries: {
      '{{server}} {{direction}}': 'max by (server, direction) (rate(toka_nats_messages_total[$__rate_interval]))',
    },
  }),
  lines({
    title: 'Connections',
    description: 'Of each NATS server, and those that it cut because they read too slowly.',
    unit: 'short',
    queries: {
      '{{server}}': 'max by (server) (toka_nats_connections)',
      '{{server}} cut': 'max by (server) (increase(toka_nats_slow_consumers_total[$__rate_interval]))',
    },
  }),
  lines({
    title: "NATS' memory",
    description: 'Of each NATS server.',
    unit: 'bytes',
    queries: { '{{server}}': 'max by (server) (toka_nats_memory_bytes)' },
    width: 4,
  }),
  lines({
    title: "NATS' processors",
    description: 'That each NATS server uses.',
    unit: 'short',
    queries: { '{{server}}': 'max by (server) (toka_nats_cpu_ratio)' },
    width: 4,
  }),
];

const http = [
  counts({
    title: 'Requests',
    description: 'To both APIs in each minute, by status. A wave of 401 or 403 is somebody who has no business here.',
    unit: 'short',
    queries: { '{{status}}': `sum by (status) (${gained('toka_http_requests_total')})` },
  }),
  lines({
    title: 'Time of a request',
    description: 'p95 by route, by five minutes. Event streams last as long as their readers stay.',
    unit: 's',
    queries: {
      '{{method}} {{route}}': quantile(0.95, 'toka_http_request_duration_seconds_bucket', ['route', 'method']),
    },
    step: '5m',
  }),
  lines({
    title: 'Event streams',
    description: 'Readers of GET /events that are connected.',
    unit: 'short',
    queries: { readers: 'sum(toka_sse_clients)' },
  }),
  lines({
    title: 'Bodies of requests',
    description: 'Bytes that the bodies of requests take in each gateway; BODIES_BYTES_MAX is their end.',
    unit: 'bytes',
    queries: { '{{instance}}': 'toka_http_body_bytes' },
  }),
  counts({
    title: 'Webhook deliveries',
    description: 'Tries in each minute, by outcome. What failed is tried again, further and further apart.',
    unit: 'short',
    queries: { '{{outcome}}': `sum by (outcome) (${gained('toka_webhook_deliveries_total')})` },
  }),
  lines({
    title: 'Behind webhooks',
    description:
      'Age of the event that the webhook furthest back is at. One that rises is a receiver that is slow or away.',
    unit: 's',
    queries: { oldest: 'max(toka_webhook_lag_seconds) or vector(0)' },
    warn: 600,
  }),
  lines({
    title: 'Webhooks',
    description: 'Those that are delivered to, and those that were disabled for not taking what came.',
    unit: 'short',
    queries: { '{{state}}': 'max by (state) (toka_webhooks)' },
  }),
];

export const system = dashboard(
  {
    uid: 'toka-system',
    title: 'Toka: system',
    description: 'Whether the services, the log, the disks and NATS are well.',
  },
  { Services: services, 'Log, archive, disks': log, NATS: nats, HTTP: http },
);
