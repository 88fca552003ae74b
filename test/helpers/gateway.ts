import { join } from 'node:path';
import { SignJWT } from 'jose';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { startService } from '#shared/service.ts';
import { Config } from '../../services/gateway/config.ts';
import { serve } from '../../services/gateway/main.ts';
import { Config as StoreConfig } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';
import type { TestServer } from './servers.ts';
import { startNats } from './servers.ts';
import { temporaryFolder } from './temporary.ts';

export const secret = 'a-secret-of-the-tests-that-is-long-enough';

type TokenOptions = {
  key?: string;
  expires?: string;
  alg?: string;
  sub?: string;
  /** `workstreams`, `iss`, `jti` … */
  claims?: Record<string, unknown>;
};

/** A token of Ann's, signed as the gateway expects unless told otherwise. */
export const token = (
  scope = 'admin',
  { key = secret, expires = '1h', alg = 'HS256', sub = 'ann', claims = {} }: TokenOptions = {},
): Promise<string> =>
  new SignJWT({ scope, ...claims })
    .setProtectedHeader({ alg })
    .setSubject(sub)
    .setExpirationTime(expires)
    .sign(new TextEncoder().encode(key));

/** `json` is what was parsed, for a test to assert on. */
export type Answer = { status: number; headers: Headers; text: string; json: ReturnType<typeof JSON.parse> };

export type Gateway = {
  nats: TestServer;
  bus: Bus;
  /** Where the Agent API and the management API are. */
  url: string;
  management: string;
  admin: string;
  /** Asks as an admin, and replaces whatever is there, unless the headers say otherwise; a body that is no text is sent as JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Another gateway on the same NATS, with settings of its own. */
  another(environment?: Record<string, string>): Promise<{ url: string; stop(): Promise<void> }>;
  stopStore(): Promise<void>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A gateway and a store on a NATS of their own. `resolve` looks up the hosts of webhooks. */
export async function startGateway(
  environment: Record<string, string> = {},
  resolve?: (host: string) => Promise<string[]>,
): Promise<Gateway> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats(undefined, { hasStore: true }));
  const folder = stack.use(await temporaryFolder()).path;
  const env = {
    NATS_URL: nats.url,
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    DATABASE_FILE: join(folder, 'toka.sqlite'),
    JWT_SECRET: secret,
    PORT: '0',
    MANAGEMENT_PORT: '0',
    HTTP_RATE_LIMIT_REQUESTS: '0',
    ...environment,
  };
  const store = stack.use(disposable(await startService('store', StoreConfig, startStore, env)));
  const open = async (own: Record<string, string> = {}) => {
    let ports = { api: 0, management: 0 };
    const service = await startService(
      'gateway',
      Config,
      async (context) => {
        ports = await serve(context, { ...(resolve && { resolve }) });
      },
      { ...env, ...own },
    );
    const url = `http://127.0.0.1:${ports.api}`;
    return { url, management: `http://127.0.0.1:${ports.management}`, ...disposable(service) };
  };
  const { url, management, ...gateway } = stack.use(await open());
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const admin = await token();
  const owned = stack.move();
  return {
    nats,
    bus,
    url,
    management,
    admin,
    async call(method, path, body, headers) {
      const response = await fetch(path.startsWith('http') ? path : url + path, {
        method,
        headers: {
          authorization: `Bearer ${admin}`,
          'content-type': 'application/json',
          ...(method === 'PUT' ? { 'if-match': '*' } : {}),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      const json = text && /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : undefined;
      return { status: response.status, headers: response.headers, text, json };
    },
    async another(own) {
      const { url: other, stop } = owned.use(await open(own));
      return { url: other, stop };
    },
    stopStore: store.stop,
    stop: gateway.stop,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** May be stopped before its time. */
function disposable(service: AsyncDisposable) {
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= Promise.resolve(service[Symbol.asyncDispose]());
    return stopped;
  };
  return { stop, [Symbol.asyncDispose]: stop };
}
