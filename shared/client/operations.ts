import * as agents from '#shared/contracts/api/agents.ts';
import * as approvals from '#shared/contracts/api/approvals.ts';
import type { Endpoint } from '#shared/contracts/api/endpoint.ts';
import { getEvent } from '#shared/contracts/api/events.ts';
import * as keys from '#shared/contracts/api/keys.ts';
import { backfill, forkRun, retryRun, startRun } from '#shared/contracts/api/new-runs.ts';
import * as runs from '#shared/contracts/api/runs.ts';
import {
  getAuditCheckpoint,
  getHealth,
  getMetrics,
  getStatus,
  getUsage,
  listAgentStatus,
  verifyAudit,
} from '#shared/contracts/api/system.ts';
import { revokeToken } from '#shared/contracts/api/tokens.ts';
import * as webhooks from '#shared/contracts/api/webhooks.ts';

/** Every endpoint by the name that a client calls it by; the stream of events is beside them. */
export const operations = {
  ...agents,
  ...runs,
  ...{ startRun, retryRun, forkRun, backfill },
  ...approvals,
  ...keys,
  ...webhooks,
  ...{ revokeToken, getEvent },
  ...{ getHealth, getMetrics, getStatus, getUsage, verifyAudit, getAuditCheckpoint, listAgentStatus },
} satisfies Record<string, Endpoint>;
