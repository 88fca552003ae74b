import { AggregatorRegistry } from 'prom-client';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { getScheduling, SchedulingView } from '#shared/contracts/scheduling.ts';
import {
  AgentStatus,
  getArchive,
  listAgentStatus,
  listUsage,
  UsageRow,
  usageKeys,
  verifyArchive,
} from '#shared/contracts/store.ts';
import { healthSubject, metricsSubject } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { version } from '#shared/version.ts';
import { seqQuery } from '../paging.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

const gatherMs = 400;
const keptMs = 1_000;

const Instance = z.object({
  service: z.string(),
  instance: z.string(),
  version: z.string(),
  ready: z.boolean(),
  checks: z.record(z.string(), z.string()),
});
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

const Day = z.iso.date('must be a day such as "2026-01-31"');

const expected = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'];

/** How the whole is doing. */
export function systemRoutes(bus: Bus): Route[] {
  const gatherMetrics = shared(async () => valid(MetricsOfInstance, await bus.askEach(metricsSubject, gatherMs)));
  return [
    route({
      method: 'get',
      path: '/health',
      scope: null,
      summary: 'Whether this gateway can answer',
      answer: z.object({ status: z.string(), version: z.string() }),
      handle() {
        if (!bus.connected()) throw new Failure('unavailable', 'NATS is away');
        return { status: 'ok', version };
      },
    }),
    route({
      method: 'get',
      path: '/metrics',
      scope: null,
      summary: 'The metrics of every instance, for Prometheus',
      answer: { mediaType: 'text/plain' },
      async handle({ ctx }) {
        const all = AggregatorRegistry.aggregate(await gatherMetrics());
        ctx.type = all.contentType;
        return all.metrics();
      },
    }),
    route({
      method: 'get',
      path: '/status',
      scope: 'runs:read',
      summary: 'Services, archive, agents and runs at a glance',
      answer: z.object({
        ready: z.boolean(),
        missing: z.array(z.string()),
        services: z.array(Instance),
        log: z.object({ seq: z.number() }),
        archive: z.object({ seq: z.number(), databaseBytes: z.number() }).nullable(),
        /** How many, by state. */
        agents: z.record(z.string(), z.number()),
        /** Those that have not ended, by status, as the scheduler counts them; null while it does not tell. */
        runs: z.record(z.string(), z.number()).nullable(),
        /** Session, phase, progress and backlog; null while no scheduler tells. */
        scheduling: SchedulingView.omit({ runs: true }).nullable(),
      }),
      handle: () => statusOf(bus),
    }),
    route({
      method: 'get',
      path: '/usage',
      scope: 'usage:read',
      summary: 'Tokens and cost by agent, run, model, workstream, day or key',
      query: seqQuery.extend({
        by: z.enum(usageKeys).default('agent'),
        since: Day.optional().describe('From that day (UTC) on'),
        until: Day.optional().describe('Up to that day, which counts'),
      }),
      answer: z.object({ items: z.array(UsageRow) }),
      handle: async ({ query }) => ({ items: await bus.ask(listUsage, query) }),
    }),
    route({
      method: 'get',
      path: '/audit/verify',
      scope: 'admin',
      summary: "Computes the archive's hash chain anew and says where it breaks, if it does",
      answer: verifyArchive.output,
      handle: () => bus.ask(verifyArchive, {}, { timeoutMs: 600_000 }),
    }),
  ];
}

/** What port 9000 has besides. */
export const managementRoutes = (bus: Bus, isPublic: boolean): Route[] => [
  route({
    method: 'get',
    path: '/agents/status',
    scope: isPublic ? null : 'agents:read',
    summary: 'Every agent: its state, current run, progress, last error and cost',
    query: seqQuery,
    answer: z.object({ items: z.array(AgentStatus) }),
    handle: async ({ query }) => ({ items: await bus.ask(listAgentStatus, query) }),
  }),
];

async function statusOf(bus: Bus) {
  const [answers, scheduling, seq, archive, agents] = await Promise.all([
    bus.askEach(healthSubject, gatherMs),
    bus.ask(getScheduling, {}, { timeoutMs: gatherMs }).catch(() => null),
    bus.lastSeq(),
    bus.ask(getArchive, {}).catch(() => null),
    bus.ask(listAgentStatus, {}).catch(() => []),
  ]);
  const services = valid(Instance, answers);
  const missing = expected.filter((name) => !services.some(({ service }) => service === name));
  const states = Map.groupBy(agents, ({ state }) => state);
  return {
    ready: missing.length === 0 && services.every(({ ready }) => ready),
    missing,
    services: services.toSorted((a, b) => a.service.localeCompare(b.service)),
    log: { seq },
    archive: archive && { seq: archive.seq, databaseBytes: archive.databaseBytes },
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
