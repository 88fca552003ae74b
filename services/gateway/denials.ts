import type { Bus } from '#shared/bus/bus.ts';
import { messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import { clip } from '#shared/text.ts';
import type { Denied } from './boundary.ts';

const burstMax = 20;
const refillMs = 10_000;

/** Records refused requests as events: a burst, then one each ten seconds, for whoever has no token must not fill the log. */
export function createDenials(bus: Bus, writer: Writer, logger: Logger): Denied {
  let left = burstMax;
  let filledMs = performance.now();
  return ({ method, path }, { code, message }) => {
    const refills = Math.floor((performance.now() - filledMs) / refillMs);
    left = Math.min(burstMax, left + refills);
    filledMs += refills * refillMs;
    if (left === 0) return;
    left -= 1;
    const data = { method, path: clip(path, 200), code, detail: message };
    bus
      .append(newEvent({ type: 'toka.system.access-denied.v1', data }, 'system/gateway', writer), undefined, 2_000)
      .catch((error) => logger.warn({ reason: messageOf(error) }, 'a refusal could not be recorded'));
  };
}
