import { counts, dashboard, dial, lines, number, ranking, table } from './panels.ts';
import { gained, quantile, schedulers } from './promql.ts';

// Every scheduler counts every run, so that of several the greatest counts.
const ended = (filter: string) => `sum(${gained(`toka_runs_ended_total{status=~"${filter}"}`, '$__range')})`;
const ofAgents = (series: string) => `sum by (agent) (${gained(series, '$__range')})`;

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
    description: 'Share of the runs that completed in the time shown; a cancelled one is neither well nor ill.',
    unit: 'percentunit',
    queries: { share: `${ended('completed')} / ${ended('completed|failed')}` },
    warn: 0.95,
    alarm: 0.75,
    lowIsBad: true,
    max: 1,
  }),
  number({
    title: 'Ended',
    description: 'Runs that ended in the time shown, however they did.',
    unit: 'short',
    queries: { runs: `round(${ended('.+')} / ${schedulers})` },
  }),
  number({
    title: 'Active agents',
    description: 'Agents that take up work. Paused ones begin nothing new.',
    unit: 'short',
    queries: { active: 'max(toka_agents{status="active"})' },
  }),
];

const flow = [
  counts({
    title: 'Runs that end',
    description:
      'By how they end, in each minute. Failures that rise beside completions point at a model, a limit or a validation.',
    unit: 'short',
    queries: { '{{status}}': `max by (status) (${gained('toka_runs_ended_total')})` },
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
    description:
      'From its start to its end, by five minutes: half of the runs take less than p50, nineteen of twenty less than p95.',
    unit: 's',
    queries: {
      p50: quantile(0.5, 'toka_run_duration_seconds_bucket{status="completed"}'),
      p95: quantile(0.95, 'toka_run_duration_seconds_bucket{status="completed"}'),
    },
    step: '5m',
  }),
  lines({
    title: 'Wait for a start',
    description: 'From queued to started, what a run waits for its dependencies included.',
    unit: 's',
    queries: {
      p50: quantile(0.5, 'toka_run_wait_seconds_bucket'),
      p95: quantile(0.95, 'toka_run_wait_seconds_bucket'),
    },
    step: '5m',
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
  counts({
    title: 'Tries again',
    description: 'Runs put back after a passing fault, by its code: what the system heals by itself.',
    unit: 'short',
    queries: { '{{code}}': `sum by (code) (${gained('toka_run_retries_total')})` },
  }),
  counts({
    title: 'Not started in time',
    description: 'Dispatched runs that no runner started within AGENT_SPAWN_TIMEOUT.',
    unit: 'short',
    queries: { runs: `sum(${gained('toka_spawn_timeouts_total')})` },
    alarm: 1,
  }),
  counts({
    title: 'Tool calls',
    description: 'By tool and outcome. An error is told to the model, which may mend it.',
    unit: 'short',
    queries: { '{{tool}} {{outcome}}': `sum by (tool, outcome) (${gained('toka_tool_calls_total')})` },
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
  lines({
    title: 'Agents by status',
    description: 'Registered agents: active, paused, and those that were taken out.',
    unit: 'short',
    queries: { '{{status}}': 'max by (status) (toka_agents)' },
  }),
  ranking({
    title: 'Busiest agents',
    description: 'The ten agents with the most runs that ended in the time shown.',
    unit: 'short',
    queries: {
      '{{agent}}': `sort_desc(topk(10, round(${ofAgents('toka_agent_runs_ended_total')} / ${schedulers})))`,
    },
  }),
  lines({
    title: 'Time of a tool call',
    description: 'p95 of each tool, by five minutes. A slow one holds up every run that uses it.',
    unit: 's',
    queries: { '{{tool}}': quantile(0.95, 'toka_tool_call_duration_seconds_bucket', ['tool']) },
    step: '5m',
  }),
  table({
    title: 'Agents',
    description: 'Each agent in the time shown: runs that ended, model turns, tokens and cost.',
    unit: 'short',
    label: 'agent',
    queries: {
      completed: `round(${ofAgents('toka_agent_runs_ended_total{status="completed"}')} / ${schedulers})`,
      'all ended': `round(${ofAgents('toka_agent_runs_ended_total')} / ${schedulers})`,
      turns: ofAgents('toka_agent_steps_total'),
      tokens: ofAgents('toka_agent_llm_tokens_total'),
      'cost, USD': ofAgents('toka_agent_llm_cost_usd_total'),
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
