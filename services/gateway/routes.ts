import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import { createCheckAnswer } from './answer-check.ts';
import { asyncApiRoute } from './asyncapi.ts';
import type { Backlog } from './backlog.ts';
import { described } from './openapi/document.ts';
import type { CheckPlaces } from './places.ts';
import type { Revocations } from './revocations.ts';
import { againRoutes } from './routes/again.ts';
import { agentRunRoutes } from './routes/agent-runs.ts';
import { agentRoutes } from './routes/agents.ts';
import { approvalRoutes } from './routes/approvals.ts';
import { eventRoutes } from './routes/events.ts';
import { historyRoutes } from './routes/history.ts';
import { keyRoutes } from './routes/keys.ts';
import { memoryRoutes } from './routes/memories.ts';
import { runRoutes } from './routes/runs.ts';
import type { Cluster } from './routes/system.ts';
import { managementRoutes, systemRoutes } from './routes/system.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import type { Seats } from './seats.ts';
import type { Wanted } from './wanted.ts';
import type { Webhooks } from './webhooks/webhooks.ts';

export type RouteOptions = {
  cluster: Cluster;
  wanted: Wanted;
  revocations: Pick<Revocations, 'watch'>;
  writer: Writer;
  backlog: Backlog;
  checkPlaces: CheckPlaces;
  /** Undefined: there is nothing to seal their secrets with. */
  webhooks: Webhooks | undefined;
  logger: Logger;
  seats: Seats;
  stopping: AbortSignal;
  /** `ok`, or whose disk takes nothing more. */
  disks: () => string;
  /** Whether metrics, and what every agent does, are shown to anyone. */
  isPublic: boolean;
};

/** The table of each API, its own description with it. */
export function routesOf({
  cluster,
  wanted,
  revocations,
  writer,
  backlog,
  checkPlaces,
  webhooks,
  logger,
  seats,
  stopping,
  disks,
  isPublic,
}: RouteOptions) {
  const api = [
    ...agentRoutes(writer, backlog, checkPlaces),
    ...memoryRoutes(writer),
    ...agentRunRoutes(writer, backlog),
    ...againRoutes(writer, backlog),
    ...historyRoutes(writer, backlog),
    ...runRoutes(writer),
    ...approvalRoutes(writer, createCheckAnswer()),
    ...keyRoutes(writer),
    ...tokenRoutes(writer),
    ...webhookRoutes({ writer, webhooks }),
    ...eventRoutes({ wanted, revocations, logger, seats, stopping }),
    ...systemRoutes(cluster, disks, isPublic),
    asyncApiRoute(),
  ];
  return { api: described(api), management: described([...managementRoutes(isPublic), ...api]) };
}
