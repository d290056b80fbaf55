-- Hands overdue sessions of one shard to a node, where their owner's lease ran
-- out or the node itself is the owner.
--
-- KEYS[1]    leases: sorted set of nodes, scores in Unix ms
-- KEYS[2]    due: sorted set of session ids, scores in Unix ms
-- KEYS[3]    ids: sorted set of the ids of all sessions, scores 0
-- KEYS[3+i]  hash of the i-th session
-- ARGV[1]    unused
-- ARGV[2]    id of the node
-- ARGV[3]    now in Unix ms, or nothing: by the server's clock
-- ARGV[4]    lease in ms: for about so long the sessions are not overdue again,
--            claimed or not; see store.Later
-- ARGV[5]    slack in ms
-- ARGV[6]    interval of sweeps in ms
-- ARGV[7]    prefix of the nodes' notice channels
-- ARGV[8]    prefixes of the App IDs whose sessions the caller sees to, with a space
--            before and after each; nothing: all
-- ARGV[8+i]  id of the i-th session
--
-- Returns an array with, for each session: 0 not overdue any more, 1 left to its
-- owner, 2 not of these App IDs, and not touched, 3
-- unreadable, and left alone, or the fields and values of its hash, with due,
-- its score before, as one more: it is the node's now, and detached, if its owner
-- was another.
-- Costs O(log S) for each, with S sessions in the shard.

local now = tonumber(ARGV[3])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local node = ARGV[2]
local late = now - tonumber(ARGV[5])
local later = string.format('%.0f', now + tonumber(ARGV[4]) - math.floor(now / 1000) * 619 % tonumber(ARGV[6]))

local live = {} -- ids of the nodes whose lease holds
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  live[string.match(name, '[^-]*$')] = true
end

local served = {} -- whether an App ID is among the caller's, by App ID
local function serves(app)
  if served[app] == nil then
    served[app] = string.find(ARGV[8], ' ' .. app .. ' ', 1, true) ~= nil
  end
  return served[app]
end

local function claim(key, id)
  local score = redis.call('ZSCORE', KEYS[2], id)
  if not score or tonumber(score) > late then return 0 end
  local fence = read(key)
  if not fence and redis.call('EXISTS', key) == 0 then -- removed by hand
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
    return 0
  end
  local f = fence and parse(fence)
  if f and ARGV[8] ~= '' then
    local app = string.match(redis.call('HGET', key, 'g') or '', '^%S+')
    if not app then f = nil
    elseif not serves(app) then return 2 end
  end
  redis.call('ZADD', KEYS[2], later, id)
  if not f then return 3 end
  if f.node ~= node then
    if live[f.node] then return 1 end
    if f.letter == 'a' then f.letter = 'd' end
    redis.pcall('PUBLISH', ARGV[7] .. f.node, id)
  end
  f.node = node
  redis.call('HSET', key, 'f', pack(f))
  local fields = redis.call('HGETALL', key)
  fields[#fields + 1] = 'due'
  fields[#fields + 1] = score
  return fields
end

local out = {}
for i = 4, #KEYS do out[i - 3] = claim(KEYS[i], ARGV[i + 5]) end
return out
