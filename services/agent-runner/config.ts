import type { z } from 'zod';
import { Bytes } from '#shared/contracts/agent.ts';
import { EgressExempt } from '#shared/egress/exempt.ts';
import { CommonConfig, delegationSettings, setting } from '#shared/settings.ts';

export const Config = CommonConfig.extend({
  ...delegationSettings,
  /** Runs that this runner executes at a time. */
  MAX_CONCURRENT_AGENTS: setting.integer(1, 1_000).default(8),
  /** Processes for tools that may run at a time; a run takes one at its first tool call. */
  AGENT_POOL_SIZE: setting.integer(1, 1_000).default(10),
  /** Where each run has its own folder. */
  WORKSPACE_DIR: setting.text().default('.toka/workspaces'),
  /** Where finished deliverables are written, as <agent>/<work>/<name>. */
  DELIVERABLES_DIR: setting.text().default('.toka/deliverables'),
  /** Folders (or URL beginnings) that an agent's `repository` may lie in, separated by commas. */
  REPOSITORY_ROOTS: setting.text().default('.'),
  MAX_MEMORY_PER_AGENT: Bytes.default(512 * 1024 ** 2),
  /** Of the workspace, and again of the folder for temporary files. */
  MAX_DISK_PER_AGENT: Bytes.default(256 * 1024 ** 2),
  MAX_CPU_PER_AGENT: setting.number(0.01, 64).default(0.5),
  /** Seconds that a run may take from its start, where the agent sets no limits.timeout. */
  AGENT_TIMEOUT: setting.number(1, 604_800).default(3_600),
  /** Model calls of a run, where the agent sets no limits.max_steps. */
  AGENT_MAX_STEPS: setting.integer(1, 1_000).default(50),
  /** Tokens of a conversation from which on it is compacted; below the window of the smallest model in use. */
  CONTEXT_TOKENS_MAX: setting.integer(1_000, 10_000_000).default(120_000),
  /** Seconds that one tool call may take. */
  TOOL_TIMEOUT: setting.number(0.1, 3_600).default(30),
  /** Seconds that a model may ask for a command. */
  TOOL_TIMEOUT_MAX: setting.number(0.1, 3_600).default(600),
  /** Where sandboxes that are containers offer themselves; empty: each run gets one of this machine's own. */
  SANDBOX_SOCKETS: setting.text().optional(),
  /** Private addresses that agents may reach all the same, where their own list has them: see shared/egress/exempt.ts. */
  EGRESS_EXEMPT: EgressExempt,
  AGENT_SANDBOX_ENABLED: setting.flag().default(true),
  /** How often a run is put back after a passing fault of the model's side before it fails: with the waits below, more than an hour's outage. */
  RUN_RETRIES: setting.integer(0, 100).default(60),
  /** Seconds before the first retry; doubled for each further one. */
  RETRY_BACKOFF: setting.number(0, 3_600).default(2),
  RETRY_BACKOFF_MAX: setting.number(0, 86_400).default(120),
  /** Keeps a run's folder after its end, and logs each step. */
  DEBUG_AGENTS: setting.flag().default(false),
});
export type Config = z.output<typeof Config>;
