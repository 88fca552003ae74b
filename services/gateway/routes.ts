import type { Bus } from '#shared/bus/bus.ts';
import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import { asyncApiRoute } from './asyncapi.ts';
import type { Backlog } from './backlog.ts';
import { described } from './openapi/document.ts';
import type { CheckPlaces } from './places.ts';
import { againRoutes } from './routes/again.ts';
import { agentRunRoutes } from './routes/agent-runs.ts';
import { agentRoutes } from './routes/agents.ts';
import { approvalRoutes } from './routes/approvals.ts';
import { eventRoutes } from './routes/events.ts';
import { historyRoutes } from './routes/history.ts';
import { keyRoutes } from './routes/keys.ts';
import { memoryRoutes } from './routes/memories.ts';
import { runRoutes } from './routes/runs.ts';
import { managementRoutes, systemRoutes } from './routes/system.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import type { Seats } from './seats.ts';
import type { Webhooks } from './webhooks/webhooks.ts';

export type RouteOptions = {
  bus: Bus;
  writer: Writer;
  backlog: Backlog;
  checkPlaces: CheckPlaces;
  /** Undefined: there is nothing to seal their secrets with. */
  webhooks: Webhooks | undefined;
  logger: Logger;
  seats: Seats;
  stopping: AbortSignal;
  /** Whether what every agent does is shown to anyone. */
  isPublic: boolean;
};

/** The table of each API, its own description with it. */
export function routesOf({
  bus,
  writer,
  backlog,
  checkPlaces,
  webhooks,
  logger,
  seats,
  stopping,
  isPublic,
}: RouteOptions) {
  const api = [
    ...agentRoutes(bus, writer, backlog, checkPlaces),
    ...memoryRoutes(bus, writer),
    ...agentRunRoutes(bus, writer, backlog),
    ...againRoutes(bus, writer, backlog),
    ...historyRoutes(bus, writer, backlog),
    ...runRoutes(bus, writer),
    ...approvalRoutes(bus, writer),
    ...keyRoutes(bus, writer),
    ...webhookRoutes({ bus, writer, webhooks }),
    ...eventRoutes({ bus, logger, seats, stopping }),
    ...systemRoutes(bus),
    asyncApiRoute(),
  ];
  return { api: described(api), management: described([...managementRoutes(bus, isPublic), ...api]) };
}
