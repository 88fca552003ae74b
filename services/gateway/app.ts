import Router from '@koa/router';
import type { Context, Next } from 'koa';
import Koa from 'koa';
import { RunView } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { readTrace } from '#shared/trace.ts';
import type { Admit } from './admit.ts';
import type { Caller } from './auth.ts';
import { readJson } from './body.ts';
import type { BodyRoom, Room } from './body-room.ts';
import type { Denied } from './boundary.ts';
import { boundary } from './boundary.ts';
import { compressAnswers } from './compression.ts';
import type { Once } from './once.ts';
import { allowOrigins } from './origins.ts';
import { nameRequest } from './request-id.ts';
import type { Route } from './route.ts';
import { readCall } from './route.ts';
import type { BusOf, TenantBus } from './tenant-bus.ts';
import type { Wait } from './wait.ts';

type AppOptions = {
  routes: readonly Route[];
  admit: Admit;
  bodyBytesMax: number;
  bodyRoom: BodyRoom;
  /** Of web pages whose scripts may ask. */
  origins: readonly string[];
  busOf: BusOf;
  once: Once;
  wait: Wait;
  metrics: Metrics;
  logger: Logger;
  denied: Denied;
};

type Asked = { bus: TenantBus; caller: Caller; ctx: Context };

const goneAway = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE']);

/** The API as a Koa app: one boundary for errors, then each route from the table. */
export function createApp({
  routes,
  admit,
  bodyBytesMax,
  bodyRoom,
  origins,
  busOf,
  once,
  wait,
  metrics,
  logger,
  denied,
}: AppOptions): Koa {
  const router = new Router();
  for (const route of routes) {
    router[route.method](route.path, async (ctx: Context) => {
      ctx.state.scope = route.scope;
      const known = await admit(ctx, route.scope);
      const caller = { ...known, trace: readTrace(ctx.get('traceparent'), ctx.get('tracestate')) };
      const bus = busOf(caller, ctx);
      const done = await perform(route, { bus, caller, ctx });
      // By now its body takes no memory, however long it waits.
      const answer = route.waits ? await wait({ bus, caller, ctx }, RunView.parse(done)) : done;
      if (answer !== undefined) send(ctx, answer);
    });
  }
  const perform = async (route: Route, { bus, caller, ctx }: Asked) => {
    using room = bodyRoom.open(caller.client);
    const body = route.body ? await readBody(ctx, bodyBytesMax, room) : undefined;
    const call = { ...readCall(route, ctx, body), bus, caller, ctx };
    const key = ctx.method === 'POST' ? call.headers['Idempotency-Key'] : undefined;
    ctx.status = route.status;
    const request = { ctx, caller, key: key as string | undefined, body, isSecret: route.isSecret };
    return await once(request, (claim) => route.handle({ ...call, once: claim } as never));
  };
  const app = new Koa();
  app.silent = true;
  app.on('error', (error: Error & { code?: string }) => {
    // A client that went away is no fault of ours.
    if (!goneAway.has(error.code ?? '')) logger.error({ err: error }, 'a bug: a response failed');
  });
  app.use(nameRequest);
  app.use(measure(metrics));
  app.use(allowOrigins(origins));
  app.use(compressAnswers());
  app.use(boundary(logger, denied));
  app.use(router.routes());
  app.use(async (ctx) => {
    await admit(ctx, null);
    const others = router.stack.filter(({ regexp }) => regexp.test(ctx.path)).flatMap(({ methods }) => methods);
    if (others.length === 0) throw new Failure('not-found', `there is nothing at ${ctx.path}; see /openapi.json`);
    const allowed = [...new Set(others)].join(', ');
    ctx.set('Allow', `${allowed}, OPTIONS`);
    if (ctx.method === 'OPTIONS') {
      ctx.status = 204;
      return;
    }
    throw new Failure('not-allowed', `${ctx.method} does not work at ${ctx.path}; ${allowed} do`);
  });
  return app;
}

/** Whoever is refused before their body is in whole sends the rest to nobody. */
const readBody = (ctx: Context, bytesMax: number, room: Room): Promise<unknown> =>
  readJson(ctx.req, bytesMax, room).catch((error) => {
    if (!ctx.req.complete) ctx.set('Connection', 'close');
    throw error;
  });

/** Koa would write an object as JSON twice: once for its length. */
function send(ctx: Context, answer: unknown): void {
  if (typeof answer === 'string' || Buffer.isBuffer(answer)) {
    ctx.body = answer;
    return;
  }
  ctx.body = JSON.stringify(answer);
  ctx.type = 'json';
}

function measure(metrics: Metrics) {
  return async (ctx: Context, next: Next) => {
    const startedMs = performance.now();
    await next();
    const route = String(ctx._matchedRoute ?? 'none');
    metrics.httpRequests.inc({ route, method: ctx.method, status: String(ctx.status) });
    metrics.httpSeconds.observe({ route, method: ctx.method }, (performance.now() - startedMs) / 1000);
  };
}
