-- Makes a node the owner of overdue sessions of one shard whose owner's lease has expired.
-- Returns these sessions, and the overdue sessions that the node already owned.
--
-- KEYS[1]    due: sorted set of session ids, scores in Unix ms
-- KEYS[1+i]  hash of the i-th session
-- ARGV[1]    id of the node
-- ARGV[2]    sessions that are due later than this, in Unix ms, are not overdue
-- ARGV[3]    new due time of the sessions, whether claimed or not, in Unix ms
-- ARGV[4]    prefix of the nodes' notice channels
-- ARGV[5]    ids of the nodes whose lease holds, with a space before and after each
-- ARGV[6]    prefixes of the App IDs that the node serves, with a space before and after
--            each; empty: all
-- ARGV[6+i]  id of the i-th session
--
-- Returns an array with, for each session,
--   0      not overdue any more, or its hash was removed
--   1      not claimed: its owner's lease holds
--   2      not touched: it belongs to another App ID
--   3      not touched: its record is unreadable
--   {...}  owned by the node now: the fields and values of its hash, and its previous score
--          as the field due. An attached session of another owner is now detached.
-- Costs O(log S) for each session, with S sessions in the shard.

local due, node, late, later, live, apps = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[5], ARGV[6]

local function has(list, word)
  return string.find(list, ' ' .. word .. ' ', 1, true) ~= nil
end

local function claim(key, id)
  local score = redis.call('ZSCORE', due, id)
  if not score or tonumber(score) > late then return 0 end
  local fence = read(key)
  if not fence and redis.call('EXISTS', key) == 0 then -- removed by hand
    redis.call('ZREM', due, id)
    return 0
  end
  local f = fence and parse(fence)
  if f and apps ~= '' then
    local app = string.match(redis.call('HGET', key, 'g') or '', '^%S+')
    if not app then f = nil
    elseif not has(apps, app) then return 2 end
  end
  redis.call('ZADD', due, later, id)
  if not f then return 3 end
  if f.node ~= node then
    if has(live, f.node) then return 1 end
    if f.letter == 'a' then f.letter = 'd' end
    redis.pcall('PUBLISH', ARGV[4] .. f.node, id)
  end
  f.node = node
  redis.call('HSET', key, 'f', pack(f))
  local fields = redis.call('HGETALL', key)
  fields[#fields + 1] = 'due'
  fields[#fields + 1] = score
  return fields
end

local out = {}
for i = 2, #KEYS do out[i - 1] = claim(KEYS[i], ARGV[i + 5]) end
return out
