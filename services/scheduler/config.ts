import { CommonConfig, delegationSettings, setting } from '#shared/settings.ts';

export const Config = CommonConfig.extend({
  ...delegationSettings,
  /** Runs that may lie on the queue beyond the runners' free slots: few, so that it is decided late who goes. */
  TASKS_AHEAD: setting.integer(1, 1_000).default(2),
  /** Seconds in which a runner must start a dispatched run. */
  AGENT_SPAWN_TIMEOUT: setting.number(1, 86_400).default(60),
  /** Seconds from a run's queueing to its end. */
  WORKSTREAM_TIMEOUT: setting.number(1, 31_536_000).default(86_400),
  /** Runs of a workstream that may be at work at a time: "docs=2,*=10". */
  WORKSTREAM_RUNS_MAX: setting.limits().optional(),
  /** As much for the agents' models; those that name none are "default". */
  MODEL_RUNS_MAX: setting.limits().optional(),
  /** Whether critical runs go one at a time, with nothing else started meanwhile. */
  CRITICAL_ALONE: setting.flag().default(true),
  /** Failed runs in a row after which nothing more of an agent is started; 0: never. */
  QUARANTINE_AFTER: setting.integer(0, 1_000).default(5),
  /** Seconds between the states that are kept so that a start need not begin with the log's first event. */
  SNAPSHOT_INTERVAL: setting.number(1, 86_400).default(60),
});
