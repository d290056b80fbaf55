-- Writes the records of sessions of one shard, each by itself, by the rule of
-- store.Judge.
--
-- KEYS[1]      due: sorted set of session ids, scores in Unix ms
-- KEYS[1+i]    hash of the i-th session
-- ARGV[1]      highest record format that the caller understands
-- ARGV[2]      prefix of the nodes' notice channels
-- ARGV[3]      now in Unix ms, or nothing: by the server's clock
-- then for each session:
--   id, node, epoch, proven, rev
--   letter     a attached, d detached, x expired but not announced, e ended on
--              purpose but not announced, b ended on purpose, g gone
--   state      packed, opaque here
--   at         of a, d, x, e: due time in Unix ms; of b: when the grave may go,
--              in Unix s
--   n          how many arguments follow: 0, or the fields and values of the
--              grant, without which a new hash cannot be made
--
-- Returns an array with a word for each session: ok, missing (the hash is not
-- there, and n was 0), superseded, moved, foreign, or dead and the packed state.
-- Costs O(log S) for each, with S sessions in the shard.

local function parse(fence)
  local epoch, proven, rev, letter, node = string.match(fence, '^(%d+) (%d+) (%d+) (%l) (.*)$')
  return tonumber(epoch), tonumber(proven), tonumber(rev), letter, node
end

local function rank(letter, epoch, proven)
  if letter == 'e' or letter == 'b' then return 4 end
  if letter == 'a' then return proven == epoch and 3 or 2 end
  if letter == 'd' then return 1 end
  return 0
end

local function purpose(letter) return letter == 'e' or letter == 'b' end

local now = tonumber(ARGV[3])
local function seconds()
  if not now then now = redis.call('TIME')[1] * 1000 end
  return math.floor(now / 1000)
end

local format, channel, due = tonumber(ARGV[1]), ARGV[2], KEYS[1]
local out, a = {}, 4
for i = 2, #KEYS do
  local key = KEYS[i]
  local id, node, letter, state, at = ARGV[a], ARGV[a + 1], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7]
  local epoch, proven, rev = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local n = tonumber(ARGV[a + 8])
  local old = redis.call('HMGET', key, 'v', 'fence', 'forget')
  if old[3] and tonumber(old[3]) <= seconds() then old = {} end -- a grave that may go
  local verdict, stale, before = 'ok', false, nil

  if not old[2] then
    if n == 0 and letter ~= 'b' and letter ~= 'g' then verdict = 'missing' end
  elseif tonumber(old[1]) > format then
    verdict = 'foreign'
  else
    local oepoch, oproven, orev, oletter, onode = parse(old[2])
    before = onode
    local same = epoch == oepoch and node == onode
    if same and rev < orev then
      stale = true
    elseif purpose(oletter) then
      if not (same and (purpose(letter) or letter == 'x' or letter == 'g')) then
        verdict = 'dead ' .. redis.call('HGET', key, 'state')
      end
    elseif epoch > oepoch or same then
      verdict = 'ok'
    elseif epoch == oepoch and rank(letter, epoch, proven) > rank(oletter, oepoch, oproven) then
      verdict = 'ok'
    elseif oletter == 'a' and oepoch > epoch then
      verdict = 'superseded'
    else
      verdict = 'moved'
    end
  end

  if verdict == 'ok' and not stale then
    local fence = table.concat({ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], letter, node}, ' ')
    if letter == 'g' then
      redis.call('DEL', key)
      redis.call('ZREM', due, id)
    elseif letter == 'b' then
      redis.call('DEL', key)
      redis.call('HSET', key, 'v', ARGV[1], 'fence', fence, 'state', state, 'forget', at)
      redis.call('EXPIRE', key, math.max(1, tonumber(at) - seconds()))
      redis.call('ZREM', due, id)
    else
      if n > 0 then
        redis.call('HSET', key, 'fence', fence, 'state', state, unpack(ARGV, a + 9, a + 8 + n))
      else
        redis.call('HSET', key, 'fence', fence, 'state', state)
      end
      redis.call('ZADD', due, at, id)
    end
    if before and before ~= node then redis.call('PUBLISH', channel .. before, id) end
  end
  out[#out + 1] = verdict
  a = a + 9 + n
end
return out
