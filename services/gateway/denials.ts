import type { Context } from 'koa';
import type { Bus } from '#shared/bus/bus.ts';
import type { Failure } from '#shared/errors.ts';
import { messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import { clip } from '#shared/text.ts';

const eventsPerSecondMax = 5;

/** Records refused requests as events: few a second, for whoever has no token must not fill the log. */
export function createDenials(bus: Bus, writer: Writer, logger: Logger) {
  let second = 0;
  let recorded = 0;
  return ({ method, path }: Context, { code, message }: Failure): void => {
    const now = Math.floor(Date.now() / 1000);
    if (now !== second) {
      second = now;
      recorded = 0;
    }
    recorded += 1;
    if (recorded > eventsPerSecondMax) return;
    const data = { method, path: clip(path, 200), code, detail: message };
    bus
      .append(newEvent({ type: 'toka.system.access-denied.v1', data }, 'system/gateway', writer), undefined, 2_000)
      .catch((error) => logger.warn({ reason: messageOf(error) }, 'a refusal could not be recorded'));
  };
}
