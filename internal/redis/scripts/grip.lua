-- Makes a node the owner of a session whose key a client has shown it.
--
-- KEYS[1]  hash of the session
-- KEYS[2]  due: sorted set of session ids, scores in Unix ms
-- ARGV[1]  highest record format that the caller understands
-- ARGV[2]  prefix of the nodes' notice channels
-- ARGV[3]  session id
-- ARGV[4]  node
-- ARGV[5]  epoch of the key
-- ARGV[6]  letter: a for a connection, d for a single renewal
-- ARGV[7]  now in Unix ms, or nothing: by the server's clock
-- ARGV[8]  lease in ms: until then the node should have written what came of it
--
-- Returns {new}: no such session; {foreign}; {ended, packed state};
-- {superseded, packed state}: the key is older than one that was shown before;
-- or {held, new epoch, fields and values of the hash as they were}.
-- Costs O(log S) with S sessions in the shard.

local key, due, id, node = KEYS[1], KEYS[2], ARGV[3], ARGV[4]
local now = tonumber(ARGV[7])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local old = redis.call('HMGET', key, 'v', 'fence', 'state', 'forget')
if not old[2] or old[4] and tonumber(old[4]) * 1000 <= now then return {'new'} end
if tonumber(old[1]) > tonumber(ARGV[1]) then return {'foreign'} end

local epoch, proven, _, letter, before = string.match(old[2], '^(%d+) (%d+) (%d+) (%l) (.*)$')
epoch, proven = tonumber(epoch), tonumber(proven)
local shown = tonumber(ARGV[5])
if letter == 'e' or letter == 'b' then return {'ended', old[3]} end
if shown < proven then return {'superseded', old[3]} end

local held = redis.call('HGETALL', key)
epoch = math.max(epoch, shown) + 1
proven = math.max(proven, shown)
redis.call('HSET', key, 'fence', string.format('%.0f %.0f 0 %s %s', epoch, proven, ARGV[6], node))
redis.call('ZADD', due, string.format('%.0f', now + tonumber(ARGV[8])), id)
if before ~= node then redis.call('PUBLISH', ARGV[2] .. before, id) end
return {'held', string.format('%.0f', epoch), held}
