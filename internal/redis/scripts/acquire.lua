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
-- Returns {new}: no such session; {foreign}: written by a newer release, or no
-- record at all, and not touched; {ended, packed state}; {superseded, packed
-- state}: the key is older than one that was shown before; or {held, new epoch,
-- fields and values of the hash as they were, with due, its score, as one more}.
-- Costs O(log S) with S sessions in the shard.

local key, due, id, node = KEYS[1], KEYS[2], ARGV[3], ARGV[4]
local old = redis.pcall('HMGET', key, 'fence', 'state', 'forget')
if old.err then
  return string.find(old.err, 'WRONGTYPE', 1, true) and {'foreign'} or old
end
local fence, state, forget = old[1], old[2], tonumber(old[3])
if not fence then return {'new'} end

local format = string.match(fence, '^(%d+) ')
if not format or tonumber(format) > tonumber(ARGV[1]) then return {'foreign'} end
local epoch, proven, letter, before, version = string.match(fence, '^%d+ (%d+) (%d+) (%l) (.*) (%d+)$')
if not epoch or not state then return {'foreign'} end
if math.max(#epoch, #proven, #version) > 15 then return {'foreign'} end -- cannot be counted exactly

local now = tonumber(ARGV[7])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
if letter == 'b' and forget and forget * 1000 <= now then return {'new'} end
if letter == 'e' or letter == 'b' then return {'ended', state} end
epoch, proven = tonumber(epoch), tonumber(proven)
local shown = tonumber(ARGV[5])
if shown < proven then return {'superseded', state} end

local held = redis.call('HGETALL', key)
held[#held + 1] = 'due'
held[#held + 1] = redis.call('ZSCORE', due, id) or '0'
epoch = string.format('%.0f', math.max(epoch, shown) + 1)
proven = string.format('%.0f', math.max(proven, shown))
redis.call('HSET', key, 'fence', table.concat({format, epoch, proven, ARGV[6], node, '0'}, ' '))
redis.call('ZADD', due, string.format('%.0f', now + tonumber(ARGV[8])), id)
if before ~= node then redis.pcall('PUBLISH', ARGV[2] .. before, id) end
return {'held', epoch, held}
