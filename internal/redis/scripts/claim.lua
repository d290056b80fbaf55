-- Hands overdue sessions of one shard to a node, where their owner's lease ran
-- out or the node itself is the owner.
--
-- KEYS[1]    leases: sorted set of nodes, scores in Unix ms
-- KEYS[2]    due: sorted set of session ids, scores in Unix ms
-- KEYS[2+i]  hash of the i-th session
-- ARGV[1]    highest record format that the caller understands
-- ARGV[2]    node
-- ARGV[3]    now in Unix ms, or nothing: by the server's clock
-- ARGV[4]    lease in ms: until then the claimed sessions are not overdue again,
--            nor those that are left to an owner who lives
-- ARGV[5]    slack in ms
-- ARGV[5+i]  id of the i-th session
--
-- Returns an array with, for each session: 0 not overdue any more, 1 left to its
-- owner, 2 written by a newer release and not touched, or the fields and values
-- of its hash: it is the node's now.
-- Costs O(log S) for each, with S sessions in the shard.

local now = tonumber(ARGV[3])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local format, node = tonumber(ARGV[1]), ARGV[2]
local late = now - tonumber(ARGV[5])
local later = string.format('%.0f', now + tonumber(ARGV[4]))
local out = {}
for i = 3, #KEYS do
  local key, id = KEYS[i], ARGV[i + 3]
  local score = redis.call('ZSCORE', KEYS[2], id)
  if not score or tonumber(score) > late then
    out[#out + 1] = 0
  else
    local old = redis.call('HMGET', key, 'v', 'fence')
    if not old[2] then -- its hash was removed by hand
      redis.call('ZREM', KEYS[2], id)
      out[#out + 1] = 0
    elseif tonumber(old[1]) > format then
      out[#out + 1] = 2
    else
      local rest, owner = string.match(old[2], '^(%d+ %d+ %d+ %l) (.*)$')
      local lease = redis.call('ZSCORE', KEYS[1], owner)
      redis.call('ZADD', KEYS[2], later, id)
      if owner ~= node and lease and tonumber(lease) > now then
        out[#out + 1] = 1
      else
        redis.call('HSET', key, 'fence', rest .. ' ' .. node)
        out[#out + 1] = redis.call('HGETALL', key)
      end
    end
  end
end
return out
