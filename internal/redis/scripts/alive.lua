-- Says which nodes are alive.
--
-- KEYS[1]  leases: sorted set of nodes, scores in Unix ms
-- ARGV[1]  now in Unix ms, or nothing: by the server's clock
--
-- Returns the nodes whose lease holds.
-- Costs O(N) with N nodes.

local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
