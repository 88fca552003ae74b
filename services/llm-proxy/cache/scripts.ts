import type { Result } from 'ioredis';

// Entries: <prefix><hash>. `used` orders the hashes by last use (a counter, so that no two are equal), `due` by their end.
// A lock holds the token of the one who makes the answer. Each script is whole or not at all.

// Answers {entry or false, its life in ms, 0}, or {false, 1 where something else lies there, 1 where the lock is ours now}.
const seek = `
local hash, after, token, lockMs, bytesMax = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local size = redis.pcall('STRLEN', KEYS[1])
local odd = 0
if size == 0 then
  redis.call('ZREM', KEYS[2], hash)
  redis.call('ZREM', KEYS[3], hash)
elseif type(size) ~= 'number' or size > bytesMax then
  odd = 1
else
  local value = redis.call('GET', KEYS[1])
  if (tonumber(string.sub(value, 7, 19)) or 0) >= after then
    redis.call('ZADD', KEYS[2], 'XX', redis.call('INCR', KEYS[4]), hash)
    return {value, redis.call('PTTL', KEYS[1]), 0}
  end
end
if redis.call('SET', KEYS[5], token, 'NX', 'PX', lockMs) then return {false, odd, 1} end
local left = redis.call('PTTL', KEYS[5])
if left >= 0 and left <= lockMs then return {false, odd, 0} end
redis.call('SET', KEYS[5], token, 'PX', lockMs)
return {false, odd, 1}`;

const free = `
if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

// What is due or too much goes a thousand at a time, so that no write holds Redis up for long.
const keep = `
local hash, value, ttl, size, prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[2], old)
  redis.call('ZREM', KEYS[3], old)
end
redis.call('SET', KEYS[1], value, 'PX', ttl)
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), hash)
redis.call('ZADD', KEYS[3], now + ttl, hash)
local over = math.min(redis.call('ZCARD', KEYS[2]) - size, 1000)
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('UNLINK', prefix .. old)
    redis.call('ZREM', KEYS[2], old)
    redis.call('ZREM', KEYS[3], old)
  end
end
if redis.pcall('GET', KEYS[5]) == ARGV[6] then redis.call('DEL', KEYS[5]) end
return 1`;

const hold = `
local held = 0
for i, lock in ipairs(KEYS) do
  if redis.pcall('GET', lock) == ARGV[i + 1] then held = held + redis.call('PEXPIRE', lock, ARGV[1]) end
end
return held`;

const touch = `
for _, hash in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', redis.call('INCR', KEYS[2]), hash) end
return 1`;

/** The answers' reading, writing and locks. */
export const answerScripts = {
  /** Keys: entry, used, due, clock, lock. */
  seekAnswer: { lua: seek, numberOfKeys: 5 },
  /** Keys: entry, used, due, clock, lock. */
  keepAnswer: { lua: keep, numberOfKeys: 5 },
  freeAnswer: { lua: free, numberOfKeys: 1 },
  holdAnswers: { lua: hold },
  /** Keys: used, clock. */
  touchAnswers: { lua: touch, numberOfKeys: 2 },
};

type Keys = [entry: string, used: string, due: string, clock: string, lock: string];

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** Reads an entry that was stored at `afterMs` or later; where there is none, takes its lock if nobody has it. */
    seekAnswerBuffer(
      ...args: [...Keys, hash: string, afterMs: number, token: string, lockMs: number, bytesMax: number]
    ): Result<unknown, Context>;
    /** Writes an entry, and frees its lock if `token` holds it. */
    keepAnswer(
      ...args: [...Keys, hash: string, value: Buffer, ttlMs: number, size: number, prefix: string, token: string]
    ): Result<unknown, Context>;
    freeAnswer(lock: string, token: string): Result<unknown, Context>;
    /** Renews the first `count` arguments, which are locks, that the last `count` ones, tokens, still hold. */
    holdAnswers(count: number, ...args: (string | number)[]): Result<unknown, Context>;
    /** Entries that were used without Redis. */
    touchAnswers(used: string, clock: string, ...hashes: string[]): Result<unknown, Context>;
  }
}
