-- Writes an operator's change (a wish) into the record of an open session, and notifies the
-- session's owner.
--
-- KEYS[1]  hash of the session
-- KEYS[2]  due: sorted set of session ids, scores in Unix ms
-- ARGV[1]  prefix of the nodes' notice channels
-- ARGV[2]  session id
-- ARGV[3]  now in Unix ms
-- ARGV[4]  end, renew, or the letter of the wanted role: p or s
-- ARGV[5]  reason of the end, if ARGV[4] is end
--
-- Returns
--   none         there is no such session, or it has ended. A session that was ended on
--                purpose can be ended again until its end is delivered
--   unreadable   the record cannot be read, and is left alone
--   {...}        the fields and values of the hash as they are now, and the session's score
--                as the field due
-- Costs O(log S) with S sessions in the shard.

local key, due, id, now, wish = KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[4]
local text = read(key)
if not text then return 'none' end
local f, state = parse(text), text ~= '' and redis.call('HGET', key, 's')
if not f or not state then return 'unreadable' end
local open = f.letter == 'a' or f.letter == 'd'
if not open and not (wish == 'end' and f.letter == 'e') then return 'none' end

if wish == 'end' then
  finish(f, key, state, ARGV[5])
  redis.call('ZADD', due, now, id)
else
  want(f, wish == 'renew' and f.role or wish, math.max(f.wish + 1, now))
end
redis.call('HSET', key, 'f', pack(f))
redis.pcall('PUBLISH', ARGV[1] .. f.node, id)
local hash = redis.call('HGETALL', key)
hash[#hash + 1] = 'due'
hash[#hash + 1] = redis.call('ZSCORE', due, id) or '0'
return hash
