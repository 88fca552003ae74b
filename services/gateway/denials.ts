import { LRUCache } from 'lru-cache';
import type { Bus } from '#shared/bus/bus.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import { clip } from '#shared/text.ts';
import type { Caller } from './auth.ts';
import { on } from './auth.ts';
import type { Denied } from './boundary.ts';
import { addressOf } from './quota.ts';

const clientsMax = 1_000;
const ofOne = { burst: 20, everyMs: 10_000 };
const ofAll = { burst: 500, everyMs: 500 };

/**
 * Records every refused request in an event: each by itself at first, then those of ten seconds together in one with their count, for who has no
 * token must not fill the log.
 */
export function createDenials(bus: Bus, writer: Writer, logger: Logger): Denied {
  const all = createBucket(ofAll);
  const clients = new LRUCache<string, { bucket: Bucket; unsaid: number }>({ max: clientsMax });
  return (ctx, { code, message }) => {
    const caller: Caller | undefined = ctx.state.caller;
    const address = addressOf(ctx);
    const name = caller ? `caller ${caller.client}` : address;
    const client = clients.get(name) ?? { bucket: createBucket(ofOne), unsaid: 0 };
    clients.set(name, client);
    const { method, path } = ctx;
    const data = { method, path: clip(path, 200), code, detail: message, address };
    const by = caller ? on(writer, caller) : { ...writer, actor: 'anonymous' };
    const record = (more: Pick<DataOf<'toka.system.access-denied.v1'>, 'count'>) =>
      bus
        .append(
          newEvent({ type: 'toka.system.access-denied.v1', data: { ...data, ...more } }, 'system/gateway', by),
          undefined,
          2_000,
        )
        .catch((error) => logger.warn({ reason: messageOf(error) }, 'a refusal could not be recorded'));
    if (client.unsaid === 0 && client.bucket.take() && all.take()) return void record({});
    client.unsaid += 1;
    if (client.unsaid > 1) return;
    const tell = () => {
      void record({ count: client.unsaid });
      client.unsaid = 0;
    };
    setTimeout(tell, ofOne.everyMs).unref();
  };
}

type Bucket = { take(): boolean };

function createBucket({ burst, everyMs }: { burst: number; everyMs: number }): Bucket {
  let left = burst;
  let filledMs = performance.now();
  return {
    take() {
      const refills = Math.floor((performance.now() - filledMs) / everyMs);
      left = Math.min(burst, left + refills);
      filledMs += refills * everyMs;
      if (left === 0) return false;
      left -= 1;
      return true;
    },
  };
}
