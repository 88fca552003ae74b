import { CommonConfig, setting } from '#shared/settings.ts';

export const Config = CommonConfig.extend({
  /** Runs that one runner executes at a time; as many may wait on the queue for a runner. */
  MAX_CONCURRENT_AGENTS: setting.integer(1, 1_000).default(8),
  /** Seconds in which a runner must start a dispatched run. */
  AGENT_SPAWN_TIMEOUT: setting.number(1, 86_400).default(60),
  /** Seconds from a run's queueing to its end. */
  WORKSTREAM_TIMEOUT: setting.number(1, 31_536_000).default(86_400),
});
