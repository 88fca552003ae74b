import Router from '@koa/router';
import type { Context, Next } from 'koa';
import Koa from 'koa';
import { Failure, statusOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { scrub } from '#shared/secrets.ts';
import type { Auth, Caller } from './auth.ts';
import { requireScope } from './auth.ts';
import { readJson } from './body.ts';
import type { Route } from './route.ts';
import { parse } from './route.ts';

type AppOptions = {
  routes: readonly Route[];
  auth: Auth;
  bodyBytesMax: number;
  metrics: Metrics;
  logger: Logger;
  /** Hears of each request that was refused for its token. */
  denied(ctx: Context, failure: Failure): void;
};

const nobody: Caller = { sub: 'nobody', scopes: new Set(), expiresMs: Number.POSITIVE_INFINITY };

/** The API as a Koa app: one boundary for errors, then each route from the table. */
export function createApp({ routes, auth, bodyBytesMax, metrics, logger, denied }: AppOptions): Koa {
  const router = new Router();
  for (const route of routes) {
    router[route.method](route.path, async (ctx: Context & { params?: unknown }) => {
      const caller = route.scope === null ? nobody : await auth(ctx.get('authorization'));
      if (route.scope !== null) requireScope(caller, route.scope);
      const call = {
        params: parse(route.params, ctx.params, 'the path'),
        query: parse(route.query, { ...ctx.query }, 'the query'),
        body: route.body?.read(await readJson(ctx.req, bodyBytesMax)),
        caller,
        ctx,
      };
      ctx.status = route.status;
      const answer = await route.handle(call as never);
      if (answer !== undefined) ctx.body = answer;
    });
  }
  const app = new Koa();
  app.silent = true;
  app.on('error', (error: Error & { code?: string }) => {
    // A client that went away is no fault of ours.
    if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET' && error.code !== 'ERR_STREAM_PREMATURE_CLOSE')
      logger.error({ err: error }, 'a bug: a response failed');
  });
  app.use(measure(metrics));
  app.use(boundary(logger, denied));
  app.use(router.routes());
  app.use((ctx) => {
    const others = router.stack.filter(({ regexp }) => regexp.test(ctx.path)).flatMap(({ methods }) => methods);
    if (others.length === 0) throw new Failure('not-found', `there is nothing at ${ctx.path}; see /openapi.json`);
    const allowed = [...new Set(others)].join(', ');
    ctx.set('Allow', allowed);
    throw new Failure('not-allowed', `${ctx.method} does not work at ${ctx.path}; ${allowed} do`);
  });
  return app;
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

/** Every error becomes problem details (RFC 9457); what is no Failure is a bug, told to the log alone. */
function boundary(logger: Logger, denied: AppOptions['denied']) {
  return async (ctx: Context, next: Next) => {
    ctx.set({
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
      'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
      'Referrer-Policy': 'no-referrer',
    });
    try {
      await next();
    } catch (error) {
      if (!(error instanceof Failure)) logger.error({ err: error, path: ctx.path }, 'a bug: a request failed');
      const failure = error instanceof Failure ? error : new Failure('internal', 'an internal error; it is in the log');
      const { code, retryAfterMs, problems } = failure;
      ctx.status = statusOf[code];
      if (code === 'unauthorized' || code === 'forbidden') {
        ctx.set('WWW-Authenticate', `Bearer error="${code === 'forbidden' ? 'insufficient_scope' : 'invalid_token'}"`);
        denied(ctx, failure);
      }
      if (code === 'too-large') ctx.set('Connection', 'close');
      if (retryAfterMs !== undefined || code === 'unavailable')
        ctx.set('Retry-After', String(Math.ceil((retryAfterMs ?? 1_000) / 1000)));
      ctx.body = JSON.stringify({
        type: 'about:blank',
        title: code,
        status: ctx.status,
        detail: scrub(failure.message),
        code,
        ...(problems ? { errors: problems.map(({ field, message }) => ({ field, message })) } : {}),
      });
      ctx.type = 'application/problem+json';
    }
  };
}
