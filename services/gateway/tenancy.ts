import { AsyncLocalStorage } from 'node:async_hooks';
import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import type { Bus } from '#shared/bus/bus.ts';
import type { FollowedEvent } from '#shared/bus/follow.ts';
import { foldAgent, foldKey, foldWebhook } from '#shared/command.ts';
import type { TokaEvent } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { Caller } from './auth.ts';
import type { Denied } from './boundary.ts';

// Tenancy, in one place: routes are given a bus on which, for a caller whose token is limited to workstreams, nothing else exists. A route that
// knows nothing of it shows nothing that it should not.

type Request = { caller: Caller; ctx: Context };

const requests = new AsyncLocalStorage<Request>();

/** Does the work of a request: what it asks of the bus of `tenantBus` is answered as its caller may see it. */
export const asCaller = <T>(request: Request, work: () => T): T => requests.run(request, work);

const queries = 'toka.store.query.';
const ownersMax = 10_000;
const ownerMsMax = 2_000;

/** The bus as the caller at hand may see it; all of it for one that is not limited, and where nobody is at hand. */
export function tenantBus(bus: Bus, denied: Denied): Bus {
  const owners = createOwners(bus);
  const limited = () => {
    const request = requests.getStore();
    const { workstreams } = request?.caller ?? {};
    return request && workstreams ? { ctx: request.ctx, allowed: new Set(workstreams) } : undefined;
  };
  /** The caller is told that it is not there; the log, that it was asked for. */
  const hidden = (ctx: Context, what: string) => denied(ctx, forbidden(`${what} is of another workstream`));
  return {
    ...bus,
    async ask(contract, input, options) {
      const limit = limited();
      if (!limit) return bus.ask(contract, input, options);
      if (!contract.subject.startsWith(queries)) throw forbidden('this is about all workstreams together');
      const asked = { ...(input as object), workstreams: [...limit.allowed] } as typeof input;
      return bus.ask(contract, asked, options).catch((error) => {
        if (error instanceof Failure && error.code === 'not-found')
          bus.ask(contract, input, options).then(
            () => hidden(limit.ctx, `${contract.subject} ${(input as { id?: string }).id ?? ''}`),
            () => undefined,
          );
        throw error;
      });
    },
    async read(entity, id, from, until) {
      const limit = limited();
      if (!limit || (await owners.has(limit.allowed, entity, id))) return bus.read(entity, id, from, until);
      if ((await bus.lastSeq(`toka.events.${entity}.${id}`)) > 0) hidden(limit.ctx, `${entity}/${id}`);
      return [];
    },
    async history(entity, id, part) {
      const limit = limited();
      if (!limit || (await owners.has(limit.allowed, entity, id))) return bus.history(entity, id, part);
      const { last, lastDecision } = await bus.history(entity, id, part);
      if (last > 0) hidden(limit.ctx, `${entity}/${id}`);
      return { events: [], last, lastDecision };
    },
    async readAt(sequences) {
      const limit = limited();
      const events = await bus.readAt(sequences);
      if (!limit) return events;
      const own = await Promise.all(events.map((event) => owners.ofEvent(event, limit.allowed)));
      return events.filter((_, index) => own[index]);
    },
    async append(event, expected, deadlineMs) {
      const limit = limited();
      if (limit) await checkAppend(owners, event, limit.allowed);
      return bus.append(event, expected, deadlineMs);
    },
    follow(options) {
      const limit = limited();
      return limit ? only(bus, bus.follow(options), owners, limit.allowed) : bus.follow(options);
    },
  };
}

const forbidden = (reason: string) =>
  new Failure('forbidden', `${reason}, and the token is limited to some workstreams`);

/** What begins something says whose it is to be; all else must belong to something that is the caller's. */
async function checkAppend(owners: Owners, event: TokaEvent, allowed: ReadonlySet<string>): Promise<void> {
  const begun = ownerOf(event);
  if (begun !== undefined && !(begun !== null && allowed.has(begun)))
    throw forbidden(`nothing may be made in the workstream ${JSON.stringify(begun)}`);
  if (begun !== undefined && event.type !== 'toka.agent.updated.v1') return;
  const [entity = '', id = ''] = event.subject.split('/');
  if (!(await owners.has(allowed, entity as Entity, id))) throw forbidden(`${event.subject} is not the caller's`);
}

/** The workstream that an event gives to what it is about; undefined: it gives none. */
function ownerOf(event: TokaEvent): string | null | undefined {
  switch (event.type) {
    case 'toka.run.queued.v1':
      return event.data.definition.workstream;
    case 'toka.agent.registered.v1':
    case 'toka.agent.updated.v1':
      return event.data.spec.workstream;
    case 'toka.key.minted.v1':
    case 'toka.webhook.created.v1':
      return event.data.workstream;
    default:
      return undefined;
  }
}

/** The events that belong to these workstreams, in order. */
async function* only(
  bus: Bus,
  events: AsyncGenerator<FollowedEvent>,
  owners: Owners,
  allowed: ReadonlySet<string>,
) {
  for await (const raw of events) {
    const event = bus.readEvent(raw);
    if (event && (await owners.ofEvent(event, allowed))) yield raw;
  }
}

type Owners = ReturnType<typeof createOwners>;

/** Whose agents, runs, keys and webhooks are, as the log has it. A run never changes hands; an agent may, and is looked up anew. */
export function createOwners(bus: Pick<Bus, 'read'>) {
  const runs = new LRUCache<string, string>({ max: ownersMax });
  const agents = new LRUCache<string, string>({ max: ownersMax, ttl: ownerMsMax });
  const find = async (entity: Entity, id: string): Promise<string | null | undefined> => {
    if (entity === 'run') {
      const [first] = runs.has(id) ? [] : await bus.read('run', id, 1, 1);
      const owner = first ? ownerOf(first) : undefined;
      if (owner) runs.set(id, owner);
      return runs.get(id);
    }
    if (entity === 'key') return foldKey(await bus.read('key', id))?.workstream;
    if (entity === 'webhook') return foldWebhook(await bus.read('webhook', id))?.workstream;
    if (entity !== 'agent' && entity !== 'memory') return undefined;
    if (!agents.has(id)) {
      const owner = foldAgent(await bus.read('agent', id))?.spec.workstream;
      if (owner) agents.set(id, owner);
    }
    return agents.get(id);
  };
  const has = async (allowed: ReadonlySet<string>, entity: Entity, id: string): Promise<boolean> => {
    if (entity === 'agent') agents.delete(id);
    const owner = await find(entity, id);
    return owner !== null && owner !== undefined && allowed.has(owner);
  };
  return {
    has,
    async ofEvent(event: TokaEvent, allowed: ReadonlySet<string>): Promise<boolean> {
      const [entity = '', id = ''] = event.subject.split('/');
      if (event.type === 'toka.agent.registered.v1' || event.type === 'toka.agent.updated.v1') agents.delete(id);
      if (event.type !== 'toka.llm.called.v1') {
        const owner = await find(entity as Entity, id);
        return typeof owner === 'string' && allowed.has(owner);
      }
      const { runId, agentId, key } = event.data;
      const owner = runId ? await find('run', runId) : await find(agentId ? 'agent' : 'key', agentId ?? key);
      return typeof owner === 'string' && allowed.has(owner);
    },
  };
}
