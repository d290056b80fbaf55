-- Puts orders on the board, or lifts them.
--
-- KEYS[1]    all: hash, orders in JSON by id
-- KEYS[2]    until: sorted set of their ids, scores in Unix seconds
-- KEYS[3]    meta: hash with the number of changes
-- KEYS[3+i]  reports on the i-th order
-- ARGV[1]    highest order format that the caller understands
-- ARGV[2]    now in Unix ms, or nothing: by the server's clock
-- ARGV[3]    channel of changes
-- ARGV[4]    how many orders there may be
-- ARGV[5]    how many whose time is over are removed, at most
-- then for each order:
--   id
--   until    in Unix seconds
--   lifted   1 or 0
--   order    in JSON
--
-- Returns how many orders were refused, because there are so many.
-- Costs O(log N) for each, and for each that is removed, with N orders there.

local all, untils = KEYS[1], KEYS[2]
local now = tonumber(ARGV[2]) or redis.call('TIME')[1] * 1000
now = math.floor(now / 1000)

local over = redis.call('ZRANGEBYSCORE', untils, '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[5])
if #over > 0 then
  redis.call('HDEL', all, unpack(over))
  redis.call('ZREM', untils, unpack(over))
end

-- Says whether an order that is there may be replaced. One that cannot be read is
-- as good as none.
local function yields(old, lifted)
  local ok, o = pcall(cjson.decode, old)
  if not ok or type(o) ~= 'table' then return true end
  return lifted and o.lifted ~= true and (tonumber(o.format) or 0) <= tonumber(ARGV[1])
end

local changed, refused = false, 0
for i = 4, #KEYS do
  local a = 6 + (i - 4) * 4
  local id, ends, lifted, order = ARGV[a], ARGV[a + 1], ARGV[a + 2] == '1', ARGV[a + 3]
  local old = redis.call('HGET', all, id)
  if tonumber(ends) <= now or old and not yields(old, lifted) then -- nothing to do
  elseif not old and redis.call('HLEN', all) >= tonumber(ARGV[4]) then
    refused = refused + 1
  else
    redis.call('HSET', all, id, order)
    redis.call('ZADD', untils, ends, id)
    if not old then redis.call('DEL', KEYS[i]) end -- they were on another of this name
    changed = true
  end
end
if changed then
  redis.call('HINCRBY', KEYS[3], 'changes', 1)
  redis.pcall('PUBLISH', ARGV[3], '')
end
return refused
