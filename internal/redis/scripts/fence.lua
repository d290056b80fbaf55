-- Functions for the fence of a session, which decides who may write the session. They are
-- prepended to each script that uses a fence. A fence is "format epoch proven letter node role
-- wishVersion version"; docs/understand/redis.md explains the words. FORMAT is the format that
-- this release reads and writes.

-- Parses a fence. Returns nil for another format, for text that is not a fence, and for
-- numbers that are too large for exact arithmetic in Lua.
local function parse(fence)
  local epoch, proven, letter, node, role, wish, version =
    string.match(fence, '^' .. FORMAT .. ' (%d+) (%d+) (%l) (%S+) ([pPsS+-]) (%d+) (%d+)$')
  if not epoch or math.max(#epoch, #proven, #wish, #version) > 15 then return nil end
  return {
    epoch = tonumber(epoch), proven = tonumber(proven), letter = letter, node = node,
    role = role, wish = tonumber(wish), version = tonumber(version),
  }
end

local function pack(f)
  return string.format('%s %.0f %.0f %s %s %s %.0f %.0f',
    FORMAT, f.epoch, f.proven, f.letter, f.node, f.role, f.wish, f.version)
end

-- Writes an operator's change of a session (a wish) into the fence f: the wanted role, and the
-- version of the wish. A role in upper case, or a "+" without a role, marks a pending wish.
local function want(f, role, version)
  f.role = (f.role == '-' or f.role == '+') and '+' or string.upper(role)
  f.wish = version
end

-- Writes the end of a session into its fence f and its hash. state is the stored state.
local function finish(f, key, state, reason)
  f.letter = 'e'
  redis.call('HSET', key, 's', string.gsub(state, ' =%S*', '') .. ' =' .. reason)
end

-- Returns the fence of a session: false if there is none, or '', which parse refuses, if the
-- key does not hold a hash.
local function read(key)
  local fence = redis.pcall('HGET', key, 'f')
  if type(fence) ~= 'table' then return fence end
  if string.find(fence.err, 'WRONGTYPE', 1, true) then return '' end
  return redis.call('HGET', key, 'f') -- raises the same error
end

-- Reports whether a tombstone has expired, by its field e and the time in Unix s. A tombstone
-- without a valid field e counts until Redis removes it.
local function expired(e, now)
  return (tonumber(e) or math.huge) <= tonumber(now)
end
