-- Says which version the board has.
--
-- KEYS[1]  all: hash, orders in JSON by id
-- KEYS[2]  meta: hash with the board's generation and the number of its changes
-- ARGV[1]  now in Unix ms, or nothing: by the server's clock
-- ARGV[2]  a name for the board's life, should it have none yet
--
-- Returns {version, now in Unix seconds}. The version changes with each change, and
-- when the board has lost its data or lives on a server that was restarted or
-- replaced. A server that refuses writes, because it is full or a replica, answers
-- all the same.
-- Costs O(1).

local now = tonumber(ARGV[1]) or redis.call('TIME')[1] * 1000
local meta = redis.call('HMGET', KEYS[2], 'generation', 'changes')
if not meta[1] then
  -- If the server refuses writes, the version has no generation yet, and changes
  -- with the first call that can write one.
  redis.pcall('HSETNX', KEYS[2], 'generation', ARGV[2])
  meta[1] = redis.call('HGET', KEYS[2], 'generation') or ''
end
-- A server that answers INFO to nobody is taken to stay the same.
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
-- The number of orders shows that some were removed by hand.
local version = table.concat({meta[1], server, meta[2] or '0', redis.call('HLEN', KEYS[1])}, ' ')
return {version, math.floor(now / 1000)}
