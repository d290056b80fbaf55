-- Merges revocations into the stored ones. Of two copies of a revocation, the copy with the
-- higher version stays.
--
-- KEYS[1]  all: hash, "<seq> <version> <JSON>" by id
-- KEYS[2]  until: sorted set of the ids, scores in Unix seconds
-- KEYS[3]  version: "<random> <seq>", replaced with each change
-- ARGV[1]  now in Unix ms; empty: the server's clock
-- ARGV[2]  random part of the next version, used if something changes
-- ARGV[3]  channel on which changes are published
-- ARGV[4]  maximum number of stored revocations
-- ARGV[5]  maximum number of ended revocations that this call removes
-- then for each revocation: id, until in Unix seconds, version, JSON
--
-- Returns the number of revocations that were refused because the store already has the
-- maximum number (ARGV[4]).
-- Publishes a message of lines: the version before, the version after (both followed by the
-- number of revocations), and each changed value.
-- Costs O(log N) for each revocation that is merged or removed, with N stored revocations.

local all, untils = KEYS[1], KEYS[2]
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local seconds = math.floor(now / 1000)

local version = redis.call('GET', KEYS[3]) or '- 0'
local from = version .. ' ' .. redis.call('HLEN', all)
-- seq is at least the time, so that it keeps rising after the data was lost.
local seq = math.max((tonumber(string.match(version, ' (%d+)$')) or 0) + 1, now)
seq = string.format('%.0f', seq)

local over = redis.call('ZRANGEBYSCORE', untils, '-inf', string.format('%.0f', seconds), 'LIMIT', 0, ARGV[5])
if #over > 0 then
  redis.call('HDEL', all, unpack(over))
  redis.call('ZREM', untils, unpack(over))
end

local changed, refused = {}, 0
for i = 6, #ARGV, 4 do
  local id, ends, newer, json = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local old = redis.call('HGET', all, id)
  local stored = old and tonumber(string.match(old, '^%d+ (%d+) ')) or -1 -- a stored value that cannot be read is replaced
  if tonumber(ends) <= seconds or stored >= newer then -- nothing to do
  elseif not old and redis.call('HLEN', all) >= tonumber(ARGV[4]) then
    refused = refused + 1
  else
    local value = seq .. ' ' .. ARGV[i + 2] .. ' ' .. json
    redis.call('HSET', all, id, value)
    redis.call('ZADD', untils, ends, id)
    changed[#changed + 1] = value
  end
end
if #changed > 0 or #over > 0 then
  local to = ARGV[2] .. ' ' .. seq
  redis.call('SET', KEYS[3], to)
  to = to .. ' ' .. redis.call('HLEN', all)
  redis.pcall('PUBLISH', ARGV[3], table.concat({from, to, unpack(changed)}, '\n'))
end
return refused
