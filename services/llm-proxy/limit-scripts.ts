import type { Result } from 'ioredis';

// One member for each call that began within the window, its time by Redis' own clock as the score.
// Times are cut to whole milliseconds, so the window is held one longer. Without a nonce it only looks.

const admit = `
local limit, window, nonce = tonumber(ARGV[1]), tonumber(ARGV[2]) + 1, ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local left = limit - redis.call('ZCARD', KEYS[1])
if left > 0 and nonce ~= '' then
  redis.call('ZADD', KEYS[1], now, nonce)
  redis.call('PEXPIRE', KEYS[1], window)
  return {1, left - 1, 0}
end
if left > 0 then return {1, left, 0} end
local blocking = redis.call('ZRANGE', KEYS[1], -limit, -limit, 'WITHSCORES')
return {0, 0, blocking[2] + window - now}`;

export const limitScripts = { admitCall: { lua: admit, numberOfKeys: 1 } };

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** Answers whether a call may begin, how many more may, and in how many milliseconds the next may. */
    admitCall(key: string, limit: number, windowMs: number, nonce: string): Result<unknown, Context>;
  }
}
