import type { Result } from 'ioredis';

// A conversation: <prefix><id>, the list of its parts as they are written. `used` orders the ids by last use (a counter, so that no
// two are equal), `due` by their end. What is due or too much goes a thousand at a time, so that no write holds Redis up for long.

const read = `
local count, bytesMax = tonumber(ARGV[1]), tonumber(ARGV[2])
local parts = redis.call('LRANGE', KEYS[1], 0, count - 1)
if #parts < count then return nil end
local bytes = 0
for _, part in ipairs(parts) do bytes = bytes + #part end
if bytes > bytesMax then return nil end
return parts`;

const keep = `
local id, from, ttl, size, prefix = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if from > 0 then
  if redis.call('LLEN', KEYS[1]) < from then return 0 end
  redis.call('LTRIM', KEYS[1], 0, from - 1)
else
  redis.call('UNLINK', KEYS[1])
end
for index = 6, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[index]) end
redis.call('PEXPIRE', KEYS[1], ttl)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[2], old)
  redis.call('ZREM', KEYS[3], old)
end
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), id)
redis.call('ZADD', KEYS[3], now + ttl, id)
local over = math.min(redis.call('ZCARD', KEYS[2]) - size, 1000)
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('UNLINK', prefix .. old)
    redis.call('ZREM', KEYS[2], old)
    redis.call('ZREM', KEYS[3], old)
  end
end
return 1`;

/** The context cache's reading and writing, each whole or not at all. */
export const contextScripts = {
  readContext: { lua: read, numberOfKeys: 1 },
  keepContext: { lua: keep, numberOfKeys: 4 },
};

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** The first `count` parts; null where there are fewer, or more bytes than `bytesMax`. */
    readContext(entry: string, count: number, bytesMax: number): Result<string[] | null, Context>;
    /** Keeps the first `from` parts and puts others behind them. 0: there were not so many, and nothing was done. */
    keepContext(
      entry: string,
      used: string,
      due: string,
      clock: string,
      id: string,
      from: number,
      ttlMs: number,
      size: number,
      prefix: string,
      ...parts: string[]
    ): Result<number, Context>;
  }
}
