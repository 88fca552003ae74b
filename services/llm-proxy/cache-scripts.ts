import type { Result } from 'ioredis';

// Entries: <prefix><hash>. `used` orders the hashes by last use (a counter, so that no two are equal), `due` by their end.

const read = `
local value = redis.call('GET', KEYS[1])
if value then
  redis.call('ZADD', KEYS[2], 'XX', redis.call('INCR', KEYS[4]), ARGV[1])
else
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return value`;

const write = `
local hash, value, ttl, size, prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do redis.call('ZREM', KEYS[2], old) end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('SET', KEYS[1], value, 'PX', ttl)
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), hash)
redis.call('ZADD', KEYS[3], now + ttl, hash)
local over = redis.call('ZCARD', KEYS[2]) - size
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('DEL', prefix .. old)
    redis.call('ZREM', KEYS[2], old)
    redis.call('ZREM', KEYS[3], old)
  end
end
return 1`;

/** The response cache's reading and writing, each whole or not at all. Keys: entry, used, due, clock. */
export const cacheScripts = {
  readAnswer: { lua: read, numberOfKeys: 4 },
  writeAnswer: { lua: write, numberOfKeys: 4 },
};

declare module 'ioredis' {
  interface RedisCommander<Context> {
    readAnswer(entry: string, used: string, due: string, clock: string, hash: string): Result<string | null, Context>;
    writeAnswer(
      entry: string,
      used: string,
      due: string,
      clock: string,
      hash: string,
      value: string,
      ttlMs: number,
      size: number,
      prefix: string,
    ): Result<number, Context>;
  }
}
