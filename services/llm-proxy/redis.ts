import { Redis } from 'ioredis';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import { rememberSecret } from '#shared/secrets.ts';
import { answerScripts } from './cache/scripts.ts';
import { contextScripts } from './context/scripts.ts';
import { limitScripts } from './limits/scripts.ts';
import { responseScripts } from './responses/scripts.ts';

const answerMsMax = 1_000;
const reconnectMsMax = 1_000;

/** Opens Redis, or begins to: it comes and goes without stopping anyone. A command fails at once while it is away. */
export async function openRedis(url: string, password: string | undefined, logger: Logger): Promise<Redis> {
  const own = decodeURIComponent(new URL(url).password);
  if (own) rememberSecret(own);
  const redis = new Redis(url, {
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    connectTimeout: 2_000,
    commandTimeout: answerMsMax,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 10), reconnectMsMax),
    scripts: { ...answerScripts, ...contextScripts, ...limitScripts, ...responseScripts },
  });
  writeTogether(redis);
  let away = false;
  redis.on('error', (error: unknown) => {
    if (!away) logger.warn({ reason: messageOf(error) || String(error) }, 'Redis is away');
    away = true;
  });
  redis.on('ready', () => {
    if (away) logger.info('Redis is back');
    away = false;
  });
  await redis.connect().catch(() => undefined);
  return redis;
}

/** Commands of one turn of the event loop go out in one write: ioredis 6.0 makes one for each, which takes longer than all that we do for it. */
function writeTogether(redis: Redis): void {
  const send = redis.sendCommand.bind(redis);
  let held: Redis['stream'] | undefined;
  redis.sendCommand = (...command) => {
    const { stream } = redis;
    if (stream && held !== stream) {
      held = stream;
      stream.cork();
      setImmediate(() => {
        held = undefined;
        stream.uncork();
      });
    }
    return send(...command);
  };
}
