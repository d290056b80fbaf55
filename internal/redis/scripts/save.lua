-- Writes the records of sessions of one shard, each by itself, by the rule of
-- store.Resolve.
--
-- KEYS[1]      due: sorted set of session ids, scores in Unix ms
-- KEYS[2]      ids: sorted set of the ids of all sessions, scores 0
-- KEYS[2+i]    hash of the i-th session
-- ARGV[1]      highest record format that the caller understands
-- ARGV[2]      prefix of the nodes' notice channels
-- ARGV[3]      now in Unix ms, or nothing: by the server's clock
-- ARGV[4]      where the id begins in the name of a hash
-- ARGV[5]      1 if a grant comes with each session, 0 if with none
-- then for each session:
--   fence      "format epoch proven letter node version", with letter one of: a
--              attached, d detached, x expired but not announced, e ended on
--              purpose but not announced, b ended on purpose, g gone. With
--              ARGV[5] = 0 it is none of the last two
--   state      packed, opaque here
--   at         of a, d, x, e: due time in Unix ms; of b: when the tombstone may go,
--              in Unix s
--   n          how many arguments follow, with ARGV[5] = 1: the fields and values
--              of the grant, without which a new hash cannot be made
--
-- Returns ok if that goes for all sessions, or else an array with a word for
-- each: ok, missing (the hash is not there, and neither was the grant),
-- superseded, moved, foreign (written by a newer release, or no record at all; not
-- touched), behind and the epoch that the node has the session under, or dead and
-- the packed state.
-- Costs O(log S) for each, with S sessions in the shard.

local call, find, match, sub = redis.call, string.find, string.match, string.sub
local exact = 1e15 -- higher numbers than this cannot be counted exactly

local function rank(letter, epoch, proven)
  if letter == 'e' or letter == 'b' then return 4 end
  if letter == 'a' then return proven == epoch and 3 or 2 end
  if letter == 'd' then return 1 end
  return 0
end

local function seconds()
  return math.floor((tonumber(ARGV[3]) or call('TIME')[1] * 1000) / 1000)
end

local function parse(fence)
  local epoch, proven, letter, node, version = match(fence, '^%d+ (%d+) (%d+) (%l) (.*) (%d+)$')
  return tonumber(epoch), tonumber(proven), letter, node, tonumber(version)
end

-- Says whether an old fence may be replaced by a new one: ok, or late if it is
-- the newer one, of the same node, and else the word to answer. Then the letter
-- and the node of the old one.
local function resolve(old, new)
  local format = match(old, '^(%d+) ')
  if not format or tonumber(format) > tonumber(ARGV[1]) then return 'foreign' end
  local oepoch, oproven, oletter, onode, orev = parse(old)
  if not oepoch or oepoch > exact or oproven > exact or orev > exact then return 'foreign' end
  local epoch, proven, letter, node, version = parse(new)

  local action
  local same = epoch == oepoch and node == onode
  if same and version < orev then
    action = 'late'
  elseif oletter == 'e' or oletter == 'b' then
    local open = letter == 'a' or letter == 'd'
    if same and (letter == 'e' or letter == 'b') then
      action = 'ok'
    else
      action = same and open and oletter == 'e' and 'finish' or 'dead'
    end
  elseif epoch > oepoch or same then
    action = 'ok'
  elseif epoch == oepoch and rank(letter, epoch, proven) > rank(oletter, oepoch, oproven) then
    action = 'ok'
  elseif node == onode then
    action = 'behind ' .. string.format('%.0f', oepoch)
  elseif oletter == 'a' and oepoch > epoch and oproven >= epoch then
    action = 'superseded'
  else
    action = 'moved'
  end
  return action, oletter, onode
end

-- Writes the session at index a of the arguments, whose grant has n.
local function save(key, old, a, n)
  local due, id = KEYS[1], sub(key, tonumber(ARGV[4]))
  local fence, state, at = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local _, _, letter, node = parse(fence)
  local stays = letter ~= 'b' and letter ~= 'g'

  local action, oletter, onode = 'ok', nil, nil
  if old then action, oletter, onode = resolve(old, fence) end
  if oletter == 'b' then
    local forget = tonumber(call('HGET', key, 'forget'))
    if forget and forget <= seconds() then action, onode = 'ok', nil end
  end
  if action == 'late' then return 'ok' end
  if action == 'dead' or action == 'finish' then return action .. ' ' .. (call('HGET', key, 'state') or '') end
  if action ~= 'ok' then return action end
  local new = not old or oletter == 'b'
  if new and stays and n == 0 then return 'missing' end

  if new or not stays then call('DEL', key) end
  if stays then
    call('HSET', key, 'fence', fence, 'state', state, unpack(ARGV, a + 4, a + 3 + n))
    call('ZADD', due, at, id)
    -- It may be there. It is not looked for where only something changes.
    if n > 0 then call('ZADD', KEYS[2], 0, id) end
  else
    call('ZREM', due, id)
    call('ZREM', KEYS[2], id)
  end
  if letter == 'b' then
    call('HSET', key, 'fence', fence, 'state', state, 'forget', at)
    call('EXPIRE', key, math.max(1, tonumber(at) - seconds()))
  end
  if onode and onode ~= node then redis.pcall('PUBLISH', ARGV[2] .. onode, id) end
  return 'ok'
end

local due, first, grants = KEYS[1], tonumber(ARGV[4]), ARGV[5] == '1'
local words -- there are none as long as all is well: an array is dear to answer
local moved = {} -- scores and ids, for one command
local a = 6
for i = 3, #KEYS do
  local key, fence, n, word = KEYS[i], ARGV[a], 0, nil
  if grants then n = tonumber(ARGV[a + 3]) end
  local old = redis.pcall('HGET', key, 'fence')
  if type(old) == 'table' then -- an error
    if not find(old.err, 'WRONGTYPE', 1, true) then return old end
    word = 'foreign'
  else
    -- Nearly all are renewals by the node that has the session: the fence stays
    -- as it is up to the version. These are spared what the others need.
    local holder, orev
    if old and not grants then holder, orev = match(old, '^(.* )(%d+)$') end
    if holder and find(fence, holder, 1, true) == 1 and tonumber(orev) <= tonumber(sub(fence, #holder + 1)) then
      call('HSET', key, 'fence', fence, 'state', ARGV[a + 1])
      moved[#moved + 1] = ARGV[a + 2]
      moved[#moved + 1] = sub(key, first)
    else
      word = save(key, old, a, n)
    end
  end
  if word and word ~= 'ok' then
    words = words or {}
    words[i - 2] = word
  end
  a = a + 3
  if grants then a = a + 1 + n end
end
if #moved > 0 then call('ZADD', due, unpack(moved)) end
if not words then return 'ok' end
for i = 1, #KEYS - 2 do words[i] = words[i] or 'ok' end
return words
