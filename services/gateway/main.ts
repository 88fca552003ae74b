import type { Logger } from '#shared/log.ts';
import { developmentSecret } from '#shared/secrets.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { createAdmit } from './admit.ts';
import { createApp } from './app.ts';
import { createAuth } from './auth.ts';
import { watchBacklog } from './backlog.ts';
import { Config } from './config.ts';
import { createDenials } from './denials.ts';
import { listen } from './listen.ts';
import { createOnce } from './once.ts';
import { createCheckPlaces } from './places.ts';
import type { Route } from './route.ts';
import { routesOf } from './routes.ts';
import { createSeats } from './seats.ts';
import { tenantBus } from './tenancy.ts';
import { watchTls } from './tls.ts';
import type { TokenOptions } from './tokens.ts';
import { createWait } from './wait.ts';
import { openWebhooks } from './webhooks/webhooks.ts';

/** The HTTP edge: checks tokens and input, commands agents and runs on the log, asks the archive, streams the log. Holds no state. */
export async function start(context: Context<Config>): Promise<void> {
  await serve(context);
}

/** Serves both APIs, and answers the ports that they got. `resolve` looks up the hosts of webhooks. */
export async function serve(
  context: Context<Config>,
  { resolve }: { resolve?: (host: string) => Promise<string[]> } = {},
) {
  const { bus: whole, config, logger, metrics, writer, stack, stopping } = context;
  const denied = createDenials(whole, writer, logger);
  const bus = tenantBus(whole, denied);
  const seats = createSeats(config.SSE_CLIENTS_MAX, config.SSE_CALLER_MAX, (taken) => metrics.sseClients.set(taken));
  const backlog = watchBacklog(whole, config.BACKLOG_MAX);
  const tokens = tokenOptions(config, logger);
  const webhooks = tokens.secret === undefined ? undefined : await openWebhooks(context, tokens.secret, resolve);
  const isPublic = config.PUBLIC_STATUS;
  const checkPlaces = createCheckPlaces(config.CONFIG_FILE, config.EGRESS_EXEMPT);
  const { api, management } = routesOf({
    bus,
    writer,
    backlog,
    checkPlaces,
    webhooks,
    logger,
    seats,
    stopping,
    isPublic,
  });
  const shared = {
    admit: createAdmit(createAuth(tokens), {
      limit: config.HTTP_RATE_LIMIT_REQUESTS,
      windowMs: config.HTTP_RATE_LIMIT_WINDOW * 1000,
    }),
    bodyBytesMax: config.BODY_BYTES_MAX,
    origins: config.CORS_ORIGINS,
    once: createOnce(whole.notes),
    wait: createWait(bus, seats, stopping),
    metrics,
    logger,
    denied,
  };
  const tls =
    config.TLS_CERT_FILE && config.TLS_KEY_FILE
      ? stack.use(watchTls(config.TLS_CERT_FILE, config.TLS_KEY_FILE, logger))
      : undefined;
  const open = async (setting: 'PORT' | 'MANAGEMENT_PORT', routes: readonly Route[]) => {
    const app = createApp({ ...shared, routes });
    const { HOST: host, SHUTDOWN_GRACE, HTTP_REQUEST_TIMEOUT } = config;
    const times = { requestMs: HTTP_REQUEST_TIMEOUT * 1000, graceMs: SHUTDOWN_GRACE * 1000 };
    const { port } = stack.use(await listen(app, { setting, port: config[setting], host, ...times, tls }));
    logger.info({ port, host, setting }, 'serving HTTP');
    return port;
  };
  return { api: await open('PORT', api), management: await open('MANAGEMENT_PORT', management) };
}

function tokenOptions(config: Config, logger: Logger): TokenOptions {
  const { JWT_SECRET, JWT_JWKS_URL: jwksUrl, JWT_ISSUER: issuer, JWT_AUDIENCE: audience, TOKA_DEV } = config;
  const secret = JWT_SECRET ?? (TOKA_DEV ? developmentSecret : undefined);
  if (TOKA_DEV) logger.warn('TOKA_DEV is set: who knows how Toka is made can make tokens');
  return { secret, jwksUrl, issuer, audience };
}

if (import.meta.main) await runService('gateway', Config, start);
