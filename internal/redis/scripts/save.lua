-- Writes the records of sessions of one shard, independently of each other, by the rule of
-- store.Resolve. If a record loses, but has a newer wish (an operator's change of the session)
-- than the stored record, the script writes the wish into the stored record and notifies the
-- session's owner.
--
-- KEYS[1]      due: sorted set of session ids, scores in Unix ms
-- KEYS[1+i]    hash of the i-th session
-- ARGV[1]      prefix of the nodes' notice channels
-- ARGV[2]      now in Unix s
-- ARGV[3]      position at which the session id begins in the key of a hash
-- ARGV[4]      1 if all sessions come with their grant, 0 if no session does
-- then for each session:
--   fence      see fence.lua. The letter g asks the script to remove the session. With
--              ARGV[4] = 0 the letter is neither g nor b
--   state      opaque, except for its last word: the reason of the session's end
--   at         with the letters a, d, x, e: due time in Unix ms; with b: when the
--              tombstone expires, in Unix s
--   n          with ARGV[4] = 1: number of the arguments that follow: the fields and values
--              of the grant. A new hash needs them
--
-- Returns "done" if that is the answer for every session, else an array of answers:
--   done                the record is written, or a newer one of the owner is stored
--   wish ROLE VERSION   as done, but a newer wish is stored, and stays in the record
--   missing             the hash does not exist, and the session came without a grant
--   end STATE, finish STATE, close, release, raise EPOCH
--                       the record is refused: see store.EndSession, FinishEnd,
--                       CloseSuperseded, Release and RaiseEpoch. STATE and EPOCH are the
--                       stored ones
--   unreadable          the stored record cannot be read, and is left alone
-- Costs O(log S) for each session, with S sessions in the shard.

local call, pcall, find, match, sub = redis.call, redis.pcall, string.find, string.match, string.sub

local function rank(f)
  if f.letter == 'e' or f.letter == 'b' then return 4 end
  if f.letter == 'a' then return f.proven == f.epoch and 3 or 2 end
  return f.letter == 'd' and 1 or 0
end

-- Returns the reason of a session's end, from its state.
local function reason(state) return match(state, ' =(%S+)$') end

-- Returns the answer by the rule of store.Resolve, and whether new replaces old.
local function resolve(old, new)
  local own = new.epoch == old.epoch and new.node == old.node
  if own and new.version < old.version then return 'done', false end
  if rank(old) == 4 then
    local ends = rank(new) == 4
    if own and ends and new.reason == old.reason then return 'done', true end
    local open = new.letter == 'a' or new.letter == 'd'
    return own and (ends or open) and old.letter == 'e' and 'finish' or 'end', false
  end
  if new.epoch > old.epoch or own or new.epoch == old.epoch and rank(new) > rank(old) then return 'done', true end
  if new.node == old.node then return string.format('raise %.0f', old.epoch), false end
  if old.letter == 'a' and old.epoch > new.epoch and old.proven >= new.epoch then return 'close', false end
  return 'release', false
end

-- Saves the session whose arguments begin at index a. The last n of them are the grant. text is
-- the stored fence, or false if there is none. Returns the answer.
local function save(key, text, a, n)
  local due, id = KEYS[1], sub(key, tonumber(ARGV[3]))
  local state, at = ARGV[a + 1], ARGV[a + 2]
  local old, new = nil, parse(ARGV[a])
  local word, replace = 'done', true
  if text then
    old = parse(text)
    if not old then return 'unreadable' end
    if old.letter == 'b' and expired(call('HGET', key, 'e'), ARGV[2]) then
      old = nil
    else
      local ended = rank(old) == 4 and (call('HGET', key, 's') or '')
      old.reason, new.reason = reason(ended or ''), reason(state)
      word, replace = resolve(old, new)
      if word == 'end' or word == 'finish' then return word .. ' ' .. ended end
      if word == 'done' and rank(old) < 4 and old.wish > new.wish then
        word = string.format('wish %s %.0f', old.role, old.wish)
        new.role, new.wish = old.role, old.wish
      end
    end
  end
  if not replace then
    if (old.letter == 'a' or old.letter == 'd') and new.wish > old.wish then -- new's node applied the wish while the store was down
      if rank(new) == 4 and new.reason == 'revoked' then
        finish(old, key, call('HGET', key, 's') or '', new.reason)
        call('ZADD', due, new.wish, id)
      else
        want(old, new.role, new.wish)
      end
      call('HSET', key, 'f', pack(old))
      pcall('PUBLISH', ARGV[1] .. old.node, id)
    end
    return word
  end
  local stays = new.letter ~= 'b' and new.letter ~= 'g'
  local whole = not old or old.letter == 'b'
  if whole and stays and n == 0 then return 'missing' end

  if whole or not stays then call('DEL', key) end
  if stays then
    call('HSET', key, 'f', pack(new), 's', state, unpack(ARGV, a + 4, a + 3 + n))
    call('ZADD', due, at, id)
  else
    call('ZREM', due, id)
  end
  if new.letter == 'b' then
    call('HSET', key, 'f', pack(new), 's', state, 'e', at)
    call('EXPIRE', key, math.max(1, at - tonumber(ARGV[2])))
  end
  if old and old.node ~= new.node then pcall('PUBLISH', ARGV[1] .. old.node, id) end
  return word
end

local due, first, grants = KEYS[1], tonumber(ARGV[3]), ARGV[4] == '1'
local words -- nil while every answer is done, since an array is costly to return
local moved = {} -- due times and ids, for one ZADD
local a = 5
for i = 2, #KEYS do
  local key, fence, n, word = KEYS[i], ARGV[a], 0, nil
  local old = pcall('HGET', key, 'f')
  if type(old) == 'table' then old = read(key) end
  -- Nearly all saves are renewals by the owner. Then the fence differs from the stored fence
  -- only by its version, which is not lower, and the full rule is not needed.
  local owner, version
  if grants then
    n = tonumber(ARGV[a + 3])
  elseif old then
    owner, version = match(old, '^(.* )(%d+)$')
  end
  if owner and find(fence, owner, 1, true) == 1 and tonumber(version) <= (tonumber(sub(fence, #owner + 1)) or -1) then
    call('HSET', key, 'f', fence, 's', ARGV[a + 1])
    moved[#moved + 1] = ARGV[a + 2]
    moved[#moved + 1] = sub(key, first)
  else
    word = save(key, old, a, n)
  end
  if word and word ~= 'done' then
    words = words or {}
    words[i - 1] = word
  end
  a = a + 3
  if grants then a = a + 1 + n end
end
if #moved > 0 then call('ZADD', due, unpack(moved)) end
if not words then return 'done' end
for i = 1, #KEYS - 1 do words[i] = words[i] or 'done' end
return words
