-- Makes a node the owner of a session whose resume key a client has presented to the node.
--
-- KEYS[1]  hash of the session
-- KEYS[2]  due: sorted set of session ids, scores in Unix ms
-- ARGV[1]  prefix of the nodes' notice channels
-- ARGV[2]  session id
-- ARGV[3]  id of the node
-- ARGV[4]  epoch of the key
-- ARGV[5]  new letter of the fence: a (attached) for a connection, d (detached) for a single
--          renewal
-- ARGV[6]  now in Unix s
-- ARGV[7]  due time in Unix ms. If the node does not save the session before that time, the
--          session becomes overdue
--
-- Returns
--   {new}                 there is no such session
--   {unreadable}          the record cannot be read, and is left alone
--   {ended, state}        the session was ended on purpose
--   {superseded, state}   the key is older than one that was presented before
--   {epoch, hash}         the node owns the session under this epoch; hash has the fields
--                         and values from before
-- Costs O(log S) with S sessions in the shard.

local key, shown = KEYS[1], tonumber(ARGV[4])
local hash = redis.pcall('HGETALL', key)
if hash.err then
  return string.find(hash.err, 'WRONGTYPE', 1, true) and {'unreadable'} or hash
end
local fields = {}
for i = 1, #hash, 2 do fields[hash[i]] = hash[i + 1] end
if not fields.f then return {'new'} end
local f = parse(fields.f)
if not f or not fields.s then return {'unreadable'} end
if f.letter == 'b' and expired(fields.e, ARGV[6]) then return {'new'} end
if f.letter == 'e' or f.letter == 'b' then return {'ended', fields.s} end
if shown < f.proven then return {'superseded', fields.s} end

local before = f.node
f.epoch, f.proven = math.max(f.epoch, shown) + 1, math.max(f.proven, shown)
f.letter, f.node, f.version = ARGV[5], ARGV[3], 0
redis.call('HSET', key, 'f', pack(f))
redis.call('ZADD', KEYS[2], ARGV[7], ARGV[2])
if before ~= f.node then redis.pcall('PUBLISH', ARGV[1] .. before, ARGV[2]) end
return {string.format('%.0f', f.epoch), hash}
