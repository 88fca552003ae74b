import type { Logger } from '#shared/log.ts';
import { developmentSecret } from '#shared/secrets.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { createAdmit } from './admit.ts';
import { createApp } from './app.ts';
import { createAuth } from './auth.ts';
import type { BacklogLimits } from './backlog.ts';
import { createBacklog } from './backlog.ts';
import { createBodyRoom } from './body-room.ts';
import { Config } from './config.ts';
import { createDenials } from './denials.ts';
import { watchDisks } from './disks.ts';
import type { CheckHost } from './hosts.ts';
import { createCheckHost } from './hosts.ts';
import { listen } from './listen.ts';
import { createOnce } from './once.ts';
import { createCheckPlaces } from './places.ts';
import { openRevocations } from './revocations.ts';
import type { Route } from './route.ts';
import { routesOf } from './routes.ts';
import { createSeats } from './seats.ts';
import { createBusOf } from './tenant-bus.ts';
import { watchTls } from './tls.ts';
import type { TokenOptions } from './tokens.ts';
import { createWait } from './wait.ts';
import { createWanted } from './wanted.ts';
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
  const { bus, config, logger, metrics, writer, stack, stopping } = context;
  const denied = createDenials(bus, writer, logger);
  const seats = createSeats({
    ...{ max: config.SSE_CLIENTS_MAX, callerMax: config.SSE_CALLER_MAX },
    ...{ what: 'event streams are open', retryAfterMs: 5_000 },
    changed: (taken) => metrics.sseClients.set(taken),
  });
  const backlog = createBacklog(bus, backlogLimits(config));
  const tokens = tokenOptions(config, logger);
  const revocations = stack.use(await openRevocations(bus, logger));
  context.check('tokens', revocations.state);
  const [secret, ...previous] = tokens.secrets;
  const webhooks = secret === undefined ? undefined : await openWebhooks(context, [secret, ...previous], resolve);
  const isPublic = config.PUBLIC_STATUS;
  const checkPlaces = createCheckPlaces(config.CONFIG_FILE, config.EGRESS_EXEMPT);
  const disks = watchDisks(stack, bus);
  const { api, management } = routesOf({
    ...{
      cluster: bus,
      wanted: createWanted(bus),
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
    },
  });
  const shared = {
    admit: createAdmit(createAuth(tokens, revocations), {
      limit: config.HTTP_RATE_LIMIT_REQUESTS,
      windowMs: config.HTTP_RATE_LIMIT_WINDOW * 1000,
      checkHost: checkHostOf(config),
      areTokensKnown: config.TOKA_DEV,
    }),
    bodyBytesMax: config.BODY_BYTES_MAX,
    bodyRoom: createBodyRoom(
      Math.max(config.BODIES_BYTES_MAX, config.BODY_BYTES_MAX),
      Math.max(config.BODIES_CALLER_BYTES_MAX, config.BODY_BYTES_MAX),
      (taken) => metrics.bodyBytes.set(taken),
    ),
    origins: config.CORS_ORIGINS,
    once: createOnce(bus.notes),
    busOf: createBusOf(bus, denied),
    wait: createWait(seats, stopping),
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

/** By TLS no other name can lead here: a browser asks for its certificate. */
const checkHostOf = ({ TLS_CERT_FILE, ALLOWED_HOSTS, HOST }: Config): CheckHost =>
  TLS_CERT_FILE ? () => undefined : createCheckHost([...ALLOWED_HOSTS, HOST.toLowerCase()]);

function backlogLimits({ BACKLOG_MAX, ...config }: Config): BacklogLimits {
  const half = (max: number) => Math.ceil(max / 2);
  const { BACKLOG_WORKSTREAM_MAX = half(BACKLOG_MAX) } = config;
  const { BACKLOG_CALLER_MAX = half(BACKLOG_WORKSTREAM_MAX) } = config;
  return {
    all: { max: BACKLOG_MAX, setting: 'BACKLOG_MAX' },
    workstream: { max: BACKLOG_WORKSTREAM_MAX, setting: 'BACKLOG_WORKSTREAM_MAX' },
    caller: { max: BACKLOG_CALLER_MAX, setting: 'BACKLOG_CALLER_MAX' },
  };
}

function tokenOptions(config: Config, logger: Logger): TokenOptions {
  const { JWT_JWKS_URL: jwksUrl, JWT_ISSUER: issuer, JWT_AUDIENCE: audience, TOKA_DEV } = config;
  const { JWT_SECRET = TOKA_DEV ? developmentSecret : undefined, JWT_SECRET_PREVIOUS } = config;
  const secrets = [JWT_SECRET, JWT_SECRET_PREVIOUS].filter((each) => each !== undefined);
  if (TOKA_DEV) logger.warn('TOKA_DEV is set: who knows how Toka is made can make tokens');
  return { secrets, jwksUrl, issuer, audience };
}

if (import.meta.main) await runService('gateway', Config, start);
