import { choice, dashboard, lines, number } from './panels.ts';

const of = 'agent=~"$agent"';
const ended = (range: string, filter = '') =>
  `sum(max by (agent, status) (increase(toka_agent_runs_ended_total{${of}${filter}}[${range}])))`;

const now = [
  number({
    title: 'Runs now',
    description: 'Runs of this agent that are under way. By default an agent has one at a time.',
    unit: 'short',
    queries: { runs: `sum(toka_agent_runs_active{${of}})` },
  }),
  number({
    title: 'Ended',
    description: 'Runs that ended in the time shown.',
    unit: 'short',
    queries: { runs: `round(${ended('$__range')})` },
  }),
  number({
    title: 'Ended well',
    description: 'Share of them that completed.',
    unit: 'percentunit',
    queries: { share: `${ended('$__range', ',status="completed"')} / clamp_min(${ended('$__range')}, 1)` },
    warn: 0.95,
    alarm: 0.75,
    lowIsBad: true,
    max: 1,
  }),
  number({
    title: 'Mean time of a run',
    description: 'From start to end, over the time shown.',
    unit: 's',
    queries: {
      mean: `sum(max by (agent) (increase(toka_agent_run_duration_seconds_sum{${of}}[$__range]))) / clamp_min(sum(max by (agent) (increase(toka_agent_run_duration_seconds_count{${of}}[$__range]))), 1)`,
    },
  }),
  number({
    title: 'Tokens',
    description: 'Of model calls that reached a provider, since its llm-proxy started.',
    unit: 'short',
    queries: { tokens: `sum(toka_agent_llm_tokens_total{${of}})` },
  }),
  number({
    title: 'Cost',
    description: 'Of calls with a known price, since the llm-proxy started.',
    unit: 'currencyUSD',
    queries: { cost: `sum(toka_agent_llm_cost_usd_total{${of}})` },
  }),
];

const runs = [
  lines({
    title: 'Runs that end',
    description: 'By agent and how they end.',
    unit: 'short',
    queries: {
      '{{agent}} {{status}}': `max by (agent, status) (increase(toka_agent_runs_ended_total{${of}}[$__rate_interval]))`,
    },
    stacked: true,
  }),
  lines({
    title: 'Time of a run',
    description: 'p50 and p95 over the time shown.',
    unit: 's',
    queries: {
      '{{agent}} p50': `histogram_quantile(0.5, max by (agent, le) (rate(toka_agent_run_duration_seconds_bucket{${of}}[$__range])))`,
      '{{agent}} p95': `histogram_quantile(0.95, max by (agent, le) (rate(toka_agent_run_duration_seconds_bucket{${of}}[$__range])))`,
    },
  }),
  lines({
    title: 'Used of its limits',
    description: 'How much of its steps, tokens and cost the present run has used. At 100 % it ends as failed.',
    unit: 'percentunit',
    queries: { '{{agent}} {{limit}}': `max by (agent, limit) (toka_agent_budget_used_ratio{${of}})` },
    warn: 0.8,
    alarm: 0.9,
    max: 1,
  }),
  lines({
    title: 'Model turns',
    description: 'Turns of the loop. Many turns and no end mean that it goes in circles.',
    unit: 'short',
    queries: { '{{agent}}': `sum by (agent) (increase(toka_agent_steps_total{${of}}[$__rate_interval]))` },
    stacked: true,
  }),
  lines({
    title: 'Tool calls',
    description: 'By outcome. Many errors mean that it asks for what it cannot have.',
    unit: 'short',
    queries: {
      '{{agent}} {{outcome}}': `sum by (agent, outcome) (increase(toka_agent_tool_calls_total{${of}}[$__rate_interval]))`,
    },
    stacked: true,
  }),
  lines({
    title: 'Runs under way',
    description: 'Of each agent, over all runners.',
    unit: 'short',
    queries: { '{{agent}}': `sum by (agent) (toka_agent_runs_active{${of}})` },
    stacked: true,
  }),
];

const resources = [
  lines({
    title: 'Processors',
    description: 'Processors that its tools use.',
    unit: 'short',
    queries: { '{{agent}}': `sum by (agent) (rate(toka_agent_cpu_seconds_total{${of}}[$__rate_interval]))` },
    stacked: true,
  }),
  lines({
    title: 'Memory',
    description: 'The most that its last tool process held. MAX_MEMORY_PER_AGENT, or limits.memory, bounds it.',
    unit: 'bytes',
    queries: { '{{agent}}': `max by (agent) (toka_agent_memory_peak_bytes{${of}})` },
  }),
  lines({
    title: 'Network',
    description: 'Bytes of its model calls. Its tools have no network.',
    unit: 'Bps',
    queries: {
      '{{agent}} {{direction}}': `sum by (agent, direction) (rate(toka_agent_network_bytes_total{${of}}[$__rate_interval]))`,
    },
  }),
  lines({
    title: 'Tokens',
    description: 'By kind. Answers from the cache cost none.',
    unit: 'short',
    queries: {
      '{{agent}} {{kind}}': `sum by (agent, kind) (increase(toka_agent_llm_tokens_total{${of}}[$__rate_interval]))`,
    },
    stacked: true,
    width: 12,
  }),
  lines({
    title: 'Cost an hour',
    description: 'At the pace of the moment, of calls with a known price.',
    unit: 'currencyUSD',
    queries: { '{{agent}}': `sum by (agent) (rate(toka_agent_llm_cost_usd_total{${of}}[$__rate_interval])) * 3600` },
    stacked: true,
    width: 12,
  }),
];

export const agent = dashboard(
  {
    uid: 'toka-agent',
    title: 'Toka: agents',
    description:
      'How single agents perform, and what they take. Beyond METRICS_AGENTS_MAX, agents share the label "other".',
    variables: [choice('agent', 'Agent', 'label_values(toka_agent_steps_total, agent)')],
  },
  { Now: now, Runs: runs, Resources: resources },
);
