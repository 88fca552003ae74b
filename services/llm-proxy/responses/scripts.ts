import type { Result } from 'ioredis';

// What one client key was answered: a hash of texts by their id, with their bytes in all under `bytes`, and the order in which they came.
// What is due or too much goes with each write, the oldest first, at most a thousand at a time.

const keep = `
local ttl, countMax, bytesMax = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A Redis that is short of memory may have dropped one of the two.
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 1 then redis.call('UNLINK', KEYS[1], KEYS[2]) end
local bytes = tonumber(redis.call('HGET', KEYS[1], 'bytes') or '0')
for at = 4, #ARGV, 2 do
  local id, text = ARGV[at], ARGV[at + 1]
  bytes = bytes + #text - redis.call('HSTRLEN', KEYS[1], id)
  redis.call('HSET', KEYS[1], id, text)
  redis.call('ZADD', KEYS[2], now, id)
end
local count = redis.call('ZCARD', KEYS[2])
local oldest = redis.call('ZRANGE', KEYS[2], 0, 999, 'WITHSCORES')
for at = 1, #oldest, 2 do
  if count <= countMax and bytes <= bytesMax and tonumber(oldest[at + 1]) > now - ttl then break end
  bytes = bytes - redis.call('HSTRLEN', KEYS[1], oldest[at])
  redis.call('HDEL', KEYS[1], oldest[at])
  redis.call('ZREM', KEYS[2], oldest[at])
  count = count - 1
end
redis.call('HSET', KEYS[1], 'bytes', bytes)
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
return count`;

/** Keeps what a client key was answered, each text whole or not at all. */
export const responseScripts = { keepTexts: { lua: keep, numberOfKeys: 2 } };

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** Answers how many are kept. */
    keepTexts(
      texts: string,
      order: string,
      ttlMs: number,
      countMax: number,
      bytesMax: number,
      ...idsAndTexts: string[]
    ): Result<number, Context>;
  }
}
