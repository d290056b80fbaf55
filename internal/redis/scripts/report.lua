-- Writes what a node has done about an order, or reads what all have.
--
-- KEYS[1]  all: hash, orders in JSON by id
-- KEYS[2]  reports on the order: hash, in JSON by node
-- ARGV[1]  now in Unix ms, or nothing: by the server's clock
-- ARGV[2]  id of the order
-- ARGV[3]  to write: node
-- ARGV[4]  to write: its report, in JSON
--
-- Returns the reports, if none is to be written. On an order that is not there, or
-- whose time is over, there are none.
-- Costs O(1) to write, and O(N) to read N reports.

local order = redis.call('HGET', KEYS[1], ARGV[2])
local ok, o = pcall(cjson.decode, order or '')
local ends = ok and type(o) == 'table' and tonumber(o['until']) or 0
local now = tonumber(ARGV[1]) or redis.call('TIME')[1] * 1000
local left = ends - math.floor(now / 1000)
if left <= 0 then return {} end
if not ARGV[3] then return redis.call('HVALS', KEYS[2]) end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[2], string.format('%.0f', left))
return {}
