import { AggregatorRegistry } from 'prom-client';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import * as api from '#shared/contracts/api/system.ts';
import type { SchedulingView } from '#shared/contracts/scheduling.ts';
import { getScheduling } from '#shared/contracts/scheduling.ts';
import { getArchive, getCheckpoint, listAgentStatus, listUsage, verifyArchive } from '#shared/contracts/store.ts';
import { healthSubject, metricsSubject } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { version } from '#shared/version.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';

const gatherMs = 400;
const keptMs = 1_000;

// JSON has no NaN: a lag that was not measured yet comes as null.
const Value = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);

/** What prom-client answers as JSON. Each sample carries its service and instance, so that nothing of two instances is added up. */
const MetricsOfInstance = z.array(
  z
    .looseObject({
      name: z.string(),
      values: z.array(z.looseObject({ value: Value, labels: z.record(z.string(), z.union([z.string(), z.number()])) })),
    })
    .transform((metric) => ({ ...metric, aggregator: 'sum' })),
);

const expected = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'];

/** How the instances are, whoever asks. */
export type Cluster = Pick<Bus, 'askEach' | 'connected' | 'gate'>;

/** How the whole is doing. */
export function systemRoutes(cluster: Cluster, disks: () => string, isPublic: boolean): Route[] {
  const gatherMetrics = shared(async () => valid(MetricsOfInstance, await cluster.askEach(metricsSubject, gatherMs)));
  return [
    route({
      ...api.getHealth,
      async handle() {
        if (!cluster.connected()) throw new Failure('unavailable', 'NATS is away');
        if (disks() !== 'ok') throw new Failure('disk-full', disks(), { retryAfterMs: 10_000 });
        const log = await cluster.gate.state();
        if (log !== 'ok') throw new Failure('unavailable', log);
        return { status: 'ok', version };
      },
    }),
    route({
      ...api.getMetrics,
      scope: isPublic ? null : api.getMetrics.scope,
      async handle({ caller, ctx }) {
        if (caller.workstreams)
          throw new Failure(
            'forbidden',
            'metrics are about all workstreams together, and the token is limited to some',
          );
        const all = AggregatorRegistry.aggregate(await gatherMetrics());
        ctx.type = all.contentType;
        return all.metrics();
      },
    }),
    route({
      ...api.getStatus,
      handle: ({ bus }) => statusOf(bus, cluster),
    }),
    route({
      ...api.getUsage,
      handle: async ({ query, bus }) => ({ items: await bus.ask(listUsage, query) }),
    }),
    route({
      ...api.verifyAudit,
      handle({ bus, query: { anchorSeq, anchorHead } }) {
        if ((anchorSeq === undefined) !== (anchorHead === undefined))
          throw new Failure('invalid', 'anchorSeq and anchorHead: take both, or neither');
        const anchor = anchorSeq && anchorHead ? { seq: anchorSeq, chainHead: anchorHead } : undefined;
        return bus.ask(verifyArchive, { anchor }, { timeoutMs: 600_000 });
      },
    }),
    route({
      ...api.getAuditCheckpoint,
      handle: ({ bus }) => bus.ask(getCheckpoint, {}),
    }),
  ];
}

/** What port 9000 has besides. */
export const managementRoutes = (isPublic: boolean): Route[] => [
  route({
    ...api.listAgentStatus,
    scope: isPublic ? null : api.listAgentStatus.scope,
    handle: async ({ query, bus }) => ({ items: await bus.ask(listAgentStatus, query) }),
  }),
];

async function statusOf(bus: TenantBus, cluster: Cluster) {
  const [answers, scheduling, seq, archive, agents] = await Promise.all([
    cluster.askEach(healthSubject, gatherMs),
    bus.ask(getScheduling, {}, { timeoutMs: gatherMs }).catch(() => null),
    bus.lastSeq(),
    bus.ask(getArchive, {}).catch(() => null),
    bus.ask(listAgentStatus, {}).catch(() => []),
  ]);
  const services = valid(api.Instance, answers);
  const missing = expected.filter((name) => !services.some(({ service }) => service === name));
  const states = Map.groupBy(agents, ({ state }) => state);
  return {
    ready: missing.length === 0 && services.every(({ ready }) => ready),
    missing,
    services: services.toSorted((a, b) => a.service.localeCompare(b.service)),
    log: { seq },
    archive: archive && { seq: archive.seq, databaseBytes: archive.databaseBytes, odd: archive.odd },
    agents: Object.fromEntries([...states].map(([state, each]) => [state, each.length])),
    runs: scheduling?.runs ?? null,
    scheduling: scheduling && withoutRuns(scheduling),
  };
}

const withoutRuns = ({ runs: _, ...rest }: SchedulingView) => rest;

/** What fits; another's answer on the same subject does not. */
const valid = <S extends z.ZodType>(schema: S, answers: readonly unknown[]): z.output<S>[] =>
  answers.flatMap((answer) => {
    const parsed = schema.safeParse(answer);
    return parsed.success ? [parsed.data] : [];
  });

/** One asks, all who come within a second share the answer: these routes are open to anyone. */
function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  return () => {
    if (answer) return answer;
    const asked = ask();
    answer = asked;
    const forget = () => {
      answer = undefined;
    };
    asked.then(() => setTimeout(forget, keptMs).unref(), forget);
    return asked;
  };
}
