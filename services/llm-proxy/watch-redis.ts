import type { Redis } from 'ioredis';
import type { Metrics } from '#shared/metrics.ts';
import { repeat } from '#shared/repeat.ts';

const everyMs = 5_000;

/** Shows how Redis is, from its INFO. */
export function watchRedis(stack: AsyncDisposableStack, redis: Redis, metrics: Metrics): void {
  const look = async () => {
    const info = fieldsOf(await redis.info());
    metrics.redisUp.set(1);
    metrics.redisMemory.set(info('used_memory'));
    metrics.redisMemoryMax.set(info('maxmemory') || info('total_system_memory'));
    metrics.redisClients.set(info('connected_clients'));
    metrics.redisKeys.set(await redis.dbsize());
    metrics.redisEvicted.reset();
    metrics.redisEvicted.inc(info('evicted_keys'));
    metrics.redisPersisting.set(info('aof_last_write_status') === 1 && info('rdb_last_bgsave_status') === 1 ? 1 : 0);
  };
  repeat(stack, everyMs, look, () => metrics.redisUp.set(0));
}

/** INFO is lines of `name:value`; a status is 1 for ok and 0 for anything else. */
function fieldsOf(text: string): (name: string) => number {
  const values = new Map(text.split('\r\n').map((line) => line.split(':', 2) as [string, string]));
  return (name) => {
    const value = values.get(name) ?? '';
    return name.endsWith('_status') ? Number(value === 'ok') : Number(value) || 0;
  };
}
