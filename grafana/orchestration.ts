import { dashboard, dial, lines, number, table } from './panels.ts';

// Every scheduler counts every run, so that of several the greatest counts.
const ended = (range: string, filter = '') =>
  `sum(max by (status) (increase(toka_runs_ended_total${filter}[${range}])))`;
const well = '{status="completed"}';

const now = [
  number({
    title: 'Working now',
    description: 'Runs that runners execute at this moment.',
    unit: 'short',
    queries: { runs: 'sum(toka_runs_active)' },
  }),
  number({
    title: 'Waiting',
    description: 'Runs that have not begun: queued, dispatched, or waiting to be tried again.',
    unit: 'short',
    queries: { runs: 'sum(max by (status) (toka_runs{status!="running"}))' },
    warn: 100,
  }),
  number({
    title: 'Longest wait',
    description:
      'How long the run that waits longest for a runner has been due. Minutes mean: more runners, or more places on each.',
    unit: 's',
    queries: { wait: 'max(toka_run_oldest_wait_seconds)' },
    warn: 60,
    alarm: 300,
  }),
  number({
    title: 'Ended well',
    description: 'Of all runs that ended in the time shown, the share that completed.',
    unit: 'percentunit',
    queries: { share: `${ended('$__range', well)} / clamp_min(${ended('$__range')}, 1)` },
    warn: 0.95,
    alarm: 0.75,
    lowIsBad: true,
    max: 1,
  }),
  number({
    title: 'Ended',
    description: 'Runs that ended in the time shown, however they did.',
    unit: 'short',
    queries: { runs: `round(${ended('$__range')})` },
  }),
  number({
    title: 'Agents',
    description: 'Agents that are active. Paused ones begin nothing new.',
    unit: 'short',
    queries: { active: 'max(toka_agents{status="active"})' },
  }),
];

const flow = [
  lines({
    title: 'Runs that end',
    description: 'By how they end. Failures that rise beside completions point at a model, a limit or a validation.',
    unit: 'short',
    queries: { '{{status}}': 'max by (status) (increase(toka_runs_ended_total[$__rate_interval]))' },
    stacked: true,
  }),
  lines({
    title: 'Runs under way',
    description: 'Runs that have not ended, by status. A backlog shows as queued, trouble as waiting.',
    unit: 'short',
    queries: { '{{status}}': 'max by (status) (toka_runs)' },
    stacked: true,
  }),
  lines({
    title: 'Places',
    description: 'Runs at work beside the places that all runners have together.',
    unit: 'short',
    queries: { 'at work': 'sum(toka_runs_active)', places: 'sum(toka_run_slots)' },
  }),
  lines({
    title: 'Time of a run',
    description: 'From its start to its end: half of the runs take less than p50, nineteen of twenty less than p95.',
    unit: 's',
    queries: {
      p50: 'histogram_quantile(0.5, max by (le, status) (rate(toka_run_duration_seconds_bucket{status="completed"}[$__range])))',
      p95: 'histogram_quantile(0.95, max by (le, status) (rate(toka_run_duration_seconds_bucket{status="completed"}[$__range])))',
    },
  }),
  lines({
    title: 'Wait for a start',
    description: 'From queued to started, what a run waits for its dependencies included.',
    unit: 's',
    queries: {
      p50: 'histogram_quantile(0.5, sum by (le) (rate(toka_run_wait_seconds_bucket[$__range])))',
      p95: 'histogram_quantile(0.95, sum by (le) (rate(toka_run_wait_seconds_bucket[$__range])))',
    },
  }),
  dial({
    title: 'How full the runners are',
    description: 'Share of all places that are taken. At 100 % new work waits.',
    unit: 'percentunit',
    queries: { taken: 'sum(toka_runs_active) / clamp_min(sum(toka_run_slots), 1)' },
    warn: 0.8,
    alarm: 0.99,
    max: 1,
    width: 8,
    height: 8,
  }),
];

const trouble = [
  lines({
    title: 'Tries again',
    description: 'Runs put back after a passing fault, by its code: what the system heals by itself.',
    unit: 'short',
    queries: { '{{code}}': 'sum by (code) (increase(toka_run_retries_total[$__rate_interval]))' },
    stacked: true,
  }),
  lines({
    title: 'Not started in time',
    description: 'Dispatched runs that no runner started within AGENT_SPAWN_TIMEOUT.',
    unit: 'short',
    queries: { runs: 'sum(increase(toka_spawn_timeouts_total[$__rate_interval]))' },
    alarm: 1,
  }),
  lines({
    title: 'Tool calls',
    description: 'By tool and outcome. An error is told to the model, which may mend it.',
    unit: 'short',
    queries: { '{{tool}} {{outcome}}': 'sum by (tool, outcome) (increase(toka_tool_calls_total[$__rate_interval]))' },
    stacked: true,
  }),
];

const whole = [
  lines({
    title: 'Events',
    description: 'What is written to the log each second: the pulse of the system.',
    unit: 'cps',
    queries: { events: 'max(rate(toka_archive_events_total[$__rate_interval]))' },
  }),
  lines({
    title: 'Replicas',
    description: 'Containers of each service that answer.',
    unit: 'short',
    queries: { '{{job}}': 'count by (job) (up == 1)' },
  }),
  lines({
    title: 'Tool processes',
    description: 'Those that runs have taken, beside AGENT_POOL_SIZE of all runners.',
    unit: 'short',
    queries: { taken: 'sum(toka_tool_slots{state="taken"})', all: 'sum(toka_tool_slots)' },
  }),
  table({
    title: 'Agents',
    description: 'Each agent in the time shown: runs by how they ended, model turns, tokens and cost.',
    unit: 'short',
    label: 'agent',
    queries: {
      completed:
        'round(sum by (agent) (max by (agent, status) (increase(toka_agent_runs_ended_total{status="completed"}[$__range]))))',
      'all ended': 'round(sum by (agent) (max by (agent, status) (increase(toka_agent_runs_ended_total[$__range]))))',
      turns: 'sum by (agent) (toka_agent_steps_total)',
      tokens: 'sum by (agent) (toka_agent_llm_tokens_total)',
      'cost, USD': 'sum by (agent) (toka_agent_llm_cost_usd_total)',
    },
  }),
];

export const orchestration = dashboard(
  {
    uid: 'toka-orchestration',
    title: 'Toka: orchestration',
    description: 'What all agents together are doing, and whether anything waits or fails.',
  },
  { Now: now, Runs: flow, Trouble: trouble, 'The whole': whole },
);
