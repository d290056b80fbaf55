-- Renews a node's lease, or ends it, and returns the leases of all nodes.
--
-- KEYS[1]  leases: sorted set of node names, scored by the end of their lease in
--          Unix ms
-- KEYS[2]  hash of the node's statuses, by topic
-- ARGV[1]  now in Unix ms; empty: the server's clock
-- ARGV[2]  node; empty: only read
-- ARGV[3]  length of the lease in ms; 0 ends it
-- ARGV[4]  how long the name and the hash are kept after the last lease, in ms
--
-- Returns {now in Unix ms, node, end of its lease, node, end, ...}. Nodes whose lease
-- has expired are included for as long as their name is kept.
--
-- The member "since" is not a node: its score is the time at which the lease data was first
-- written, negated so that the member is not removed with old leases.
--
-- If a lease ends later than possible, the server's clock was set back after it was written.
-- It is deleted, since the lease of a dead node would hold until the clock has caught up, and
-- "since" is set to now: the nodes then claim no sessions until live nodes have had time to
-- renew their leases.
-- Costs O(N) with N nodes.

local leases = KEYS[1]
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
if ARGV[2] ~= '' then
  redis.call('ZADD', leases, string.format('%.0f', now + ARGV[3]), ARGV[2])
  redis.call('ZADD', leases, 'NX', string.format('%.0f', -now), 'since')
  local latest = string.format('(%.0f', now + 2 * ARGV[3])
  if ARGV[3] ~= '0' and redis.call('ZREMRANGEBYSCORE', leases, latest, '+inf') > 0 then
    redis.call('ZADD', leases, string.format('%.0f', -now), 'since')
  end
  redis.call('ZREMRANGEBYSCORE', leases, '0', string.format('%.0f', now - ARGV[4]))
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
local reply = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
table.insert(reply, 1, now)
return reply
