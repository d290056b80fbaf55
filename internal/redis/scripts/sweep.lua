-- Renews a node's lease in one shard, and looks for what is overdue there.
--
-- KEYS[1]  leases: sorted set of nodes, scores in Unix ms
-- KEYS[2]  due: sorted set of session ids, scores in Unix ms
-- KEYS[3]  meta: hash with the shard's generation
-- ARGV[1]  node
-- ARGV[2]  now in Unix ms, or nothing: by the server's clock
-- ARGV[3]  lease in ms; 0 gives it up
-- ARGV[4]  slack in ms
-- ARGV[5]  how many overdue sessions to pass over
-- ARGV[6]  how many to look at then, at most
-- ARGV[7]  a name for the shard's life, should it have none yet
--
-- Returns {generation, ids of overdue sessions, the longest overdue first, now in
-- Unix ms}. The generation changes when the shard has lost its data, or lives on a server that
-- was restarted or replaced.
-- Costs O(log S + limit) with S sessions in the shard.

local now = tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local lease = tonumber(ARGV[3])
if lease > 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 3600000))

redis.call('HSETNX', KEYS[3], 'generation', ARGV[7])
local generation = redis.call('HGET', KEYS[3], 'generation')
-- A server that answers INFO to nobody is taken to stay the same.
local info = redis.pcall('INFO', 'server')
if type(info) == 'string' then
  generation = generation .. ' ' .. (string.match(info, 'run_id:(%x+)') or '')
end

local overdue = {}
if lease > 0 then
  overdue = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - tonumber(ARGV[4])),
    'LIMIT', ARGV[5], ARGV[6])
end
return {generation, overdue, now}
