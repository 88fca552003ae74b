import type { Result } from 'ioredis';

// A window's count is a hash: a field for each bucket, `sum` over those that are held, and `first`, the oldest of them. A period's is
// a hash, too, with `sum`, and `epoch`: when the sum was read from the ledger. One without an epoch does not know what was spent before
// Redis lost it. The keys' last fields are ours to choose, so no bucket is ever called `sum`.
//
// For each key: limit, amount, bucketMs (0: a period), heldMs (of a period: how long its key is kept).

const shared = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function held(key, bucket, span)
  if bucket == 0 then return tonumber(redis.call('HGET', key, 'sum') or 0), 0 end
  local said = redis.call('HMGET', key, 'sum', 'first')
  local sum, first = tonumber(said[1] or 0), tonumber(said[2] or 0)
  local oldest = math.floor((now - span) / bucket)
  if not said[2] or first >= oldest then return sum, oldest end
  if oldest - first > 200 then redis.call('DEL', key) return 0, oldest end
  local names = {}
  for at = first, oldest - 1 do names[#names + 1] = at end
  for _, value in ipairs(redis.call('HMGET', key, unpack(names))) do
    if value then sum = sum - tonumber(value) end
  end
  redis.call('HDEL', key, unpack(names))
  redis.call('HSET', key, 'sum', sum, 'first', oldest)
  return sum, oldest
end
local function add(key, bucket, span, oldest, place, amount)
  redis.call('HINCRBY', key, 'sum', amount)
  if bucket > 0 then
    redis.call('HINCRBY', key, place, amount)
    redis.call('HSETNX', key, 'first', oldest)
  end
  redis.call('PEXPIRE', key, span + bucket)
end
`;

// A Redis that is young has lost what there was, if there was anything: for a moment everybody who holds something of a period says so again.
const bornKey = '{toka:limit}:born';
const youngMs = 1_500;
const birth = `
redis.call('SET', '${bornKey}', now, 'NX')
local born = tonumber(redis.call('GET', '${bornKey}'))`;

/** Takes all or nothing. With amounts of 0 it only looks. Behind the keys' values: whether to go on where a period has no epoch, or is young. */
const take = `${shared}
local sums, olds, epochs, blocked, wait, unread = {}, {}, {}, 0, 0, false
local young = 0
for i, key in ipairs(KEYS) do
  epochs[i] = 0
  if tonumber(ARGV[i * 4 - 1]) == 0 then
    epochs[i] = tonumber(redis.call('HGET', key, 'epoch') or 0)
    if epochs[i] == 0 then unread = true end
    if young == 0 then
      ${birth}
      young = math.max(-1, ${youngMs} - (now - born))
    end
  end
end
if (unread or young > 0) and ARGV[#KEYS * 4 + 1] == '0' then return {now, -1, math.max(0, young), {}, epochs} end
for i, key in ipairs(KEYS) do
  local limit, amount, bucket, span = tonumber(ARGV[i * 4 - 3]), tonumber(ARGV[i * 4 - 2]), tonumber(ARGV[i * 4 - 1]), tonumber(ARGV[i * 4])
  sums[i], olds[i] = held(key, bucket, span)
  local over = sums[i] + amount - limit
  if amount > 0 and over > 0 then
    local own = 0
    if bucket > 0 then
      local names, last = {}, math.floor(now / bucket)
      for at = olds[i], last do names[#names + 1] = at end
      for at, value in ipairs(redis.call('HMGET', key, unpack(names))) do
        over = over - tonumber(value or 0)
        if over <= 0 then own = (names[at] + 1) * bucket + span - now break end
      end
    else
      own = -1
    end
    if blocked == 0 or (own == -1 and wait ~= -1) or (wait ~= -1 and own > wait) then blocked, wait = i, own end
  end
end
if blocked == 0 then
  for i, key in ipairs(KEYS) do
    local amount, bucket, span = tonumber(ARGV[i * 4 - 2]), tonumber(ARGV[i * 4 - 1]), tonumber(ARGV[i * 4])
    if amount > 0 then
      add(key, bucket, span, olds[i], bucket > 0 and math.floor(now / bucket) or 0, amount)
      sums[i] = sums[i] + amount
    end
  end
end
return {now, blocked, wait, sums, epochs}`;

/**
 * Corrects counts: for each key place, amount, bucketMs, heldMs, and of a period its epoch when it was taken and what it took in all. What
 * is no longer held is left alone. A period that was lost will be read from the ledger; one that was read since lacks what was then taken.
 */
const correct = `${shared}
for i, key in ipairs(KEYS) do
  local place, amount, bucket, span = tonumber(ARGV[i * 6 - 5]), tonumber(ARGV[i * 6 - 4]), tonumber(ARGV[i * 6 - 3]), tonumber(ARGV[i * 6 - 2])
  local epoch, whole = tonumber(ARGV[i * 6 - 1]), tonumber(ARGV[i * 6])
  local _, oldest = held(key, bucket, span)
  if bucket > 0 then
    if place >= oldest then add(key, bucket, span, oldest, place, amount) end
  elseif redis.call('EXISTS', key) == 1 then
    local known = tonumber(redis.call('HGET', key, 'epoch') or 0)
    add(key, bucket, span, oldest, place, (epoch >= 0 and known ~= epoch) and whole or amount)
  end
end
return now`;

/** Begins a period with what the ledger says and the asker holds: the sum, how long it is kept, its epoch. Who is first is right. */
const begin = `
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[3]) == 1 then
  redis.call('HSET', KEYS[1], 'sum', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return tonumber(redis.call('HGET', KEYS[1], 'epoch'))`;

/** Says that an instance is there, and what it holds; answers the time, how many there are, since when this Redis knows of any, and what all hold. */
const announce = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for _, gone in ipairs(redis.call('HKEYS', KEYS[2])) do
  if not redis.call('ZSCORE', KEYS[1], gone) then redis.call('HDEL', KEYS[2], gone) end
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
${birth}
return {now, redis.call('ZCARD', KEYS[1]), born, redis.call('HVALS', KEYS[2])}`;

export const limitScripts = {
  takeLimits: { lua: take },
  correctLimits: { lua: correct },
  beginPeriod: { lua: begin, numberOfKeys: 1 },
  announceInstance: { lua: announce, numberOfKeys: 2 },
};

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /**
     * Answers the time in milliseconds, the place of the key that is in the way (0: none; -1: a period without an epoch, or one that is young),
     * for how long (-1: its period), the sums, and the epochs.
     */
    takeLimits(count: number, ...keysAndValues: (string | number)[]): Result<unknown, Context>;
    correctLimits(count: number, ...keysAndValues: (string | number)[]): Result<unknown, Context>;
    beginPeriod(key: string, sum: number, keptMs: number, epoch: number): Result<unknown, Context>;
    announceInstance(
      key: string,
      heldKey: string,
      instance: string,
      keptMs: number,
      held: string,
    ): Result<unknown, Context>;
  }
}
