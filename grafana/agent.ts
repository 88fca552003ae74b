import { choice, counts, dashboard, lines, number } from './panels.ts';
import { gained, quantile, schedulers } from './promql.ts';

const of = 'agent=~"$agent"';
const sumOf = (series: string) => `sum(${gained(series, '$__range')})`;
const ended = (filter: string) => sumOf(`toka_agent_runs_ended_total{${of},status=~"${filter}"}`);

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
    queries: { runs: `round(${ended('.+')} / ${schedulers})` },
  }),
  number({
    title: 'Ended well',
    description: 'Share of them that completed; a cancelled one is neither well nor ill.',
    unit: 'percentunit',
    queries: { share: `(${ended('completed')} or vector(0)) / ${ended('completed|failed')}` },
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
      mean: `${sumOf(`toka_agent_run_duration_seconds_sum{${of}}`)} / ${sumOf(`toka_agent_run_duration_seconds_count{${of}}`)}`,
    },
  }),
  number({
    title: 'Tokens',
    description: 'Of model calls that reached a provider in the time shown.',
    unit: 'short',
    queries: { tokens: sumOf(`toka_agent_llm_tokens_total{${of}}`) },
  }),
  number({
    title: 'Cost',
    description: 'Of calls with a known price, in the time shown.',
    unit: 'currencyUSD',
    queries: { cost: sumOf(`toka_agent_llm_cost_usd_total{${of}}`) },
  }),
];

const runs = [
  counts({
    title: 'Runs that end',
    description: 'By agent and how they end: one that begins to fail stands out.',
    unit: 'short',
    queries: {
      '{{agent}} {{status}}': `max by (agent, status) (${gained(`toka_agent_runs_ended_total{${of}}`)})`,
    },
  }),
  lines({
    title: 'Time of a run',
    description: 'p50 and p95, by five minutes. One that grows points at a slower model, or at more turns.',
    unit: 's',
    queries: {
      '{{agent}} p50': quantile(0.5, `toka_agent_run_duration_seconds_bucket{${of}}`, ['agent']),
      '{{agent}} p95': quantile(0.95, `toka_agent_run_duration_seconds_bucket{${of}}`, ['agent']),
    },
    step: '5m',
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
  counts({
    title: 'Model turns',
    description: 'Turns of the loop. Many turns and no end mean that it goes in circles.',
    unit: 'short',
    queries: { '{{agent}}': `sum by (agent) (${gained(`toka_agent_steps_total{${of}}`)})` },
  }),
  counts({
    title: 'Tool calls',
    description: 'By outcome. Many errors mean that it asks for what it cannot have.',
    unit: 'short',
    queries: {
      '{{agent}} {{outcome}}': `sum by (agent, outcome) (${gained(`toka_agent_tool_calls_total{${of}}`)})`,
    },
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
  counts({
    title: 'Processor time',
    description: 'Seconds of a processor that its tools took in each minute: 60 are one processor all the time.',
    unit: 's',
    queries: { '{{agent}}': `sum by (agent) (${gained(`toka_agent_cpu_seconds_total{${of}}`)})` },
  }),
  lines({
    title: 'Memory',
    description: 'The most that its last tool process held. MAX_MEMORY_PER_AGENT, or limits.memory, bounds it.',
    unit: 'bytes',
    queries: { '{{agent}}': `max by (agent) (toka_agent_memory_peak_bytes{${of}})` },
  }),
  counts({
    title: 'Network',
    description: 'Bytes in each minute: of its model calls, and between its tools and the outside.',
    unit: 'bytes',
    queries: {
      '{{agent}} {{direction}}': `sum by (agent, direction) (${gained(`toka_agent_network_bytes_total{${of}}`)})`,
    },
  }),
  counts({
    title: 'Tool calls that a limit ended',
    description: 'Over all agents, by limit. Many at one limit: raise it, or have the agent ask for less at a time.',
    unit: 'short',
    queries: { '{{limit}}': `sum by (limit) (${gained('toka_tools_killed_total')})` },
    width: 12,
  }),
  counts({
    title: 'Connections refused',
    description:
      'Where tools wanted to go that network.allow does not name, or that nobody may reach. Look at what such an agent does.',
    unit: 'short',
    queries: { '{{agent}}': `sum by (agent) (${gained(`toka_agent_egress_denied_total{${of}}`)}) or vector(0)` },
    width: 12,
  }),
  counts({
    title: 'Tokens by kind',
    description: 'In each minute. Answers from the cache cost none.',
    unit: 'short',
    queries: {
      '{{agent}} {{kind}}': `sum by (agent, kind) (${gained(`toka_agent_llm_tokens_total{${of}}`)})`,
    },
    width: 12,
  }),
  lines({
    title: 'Cost an hour',
    description: 'What calls with a known price cost in the hour before each moment.',
    unit: 'currencyUSD',
    queries: { '{{agent}}': `sum by (agent) (${gained(`toka_agent_llm_cost_usd_total{${of}}`, '1h')})` },
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
