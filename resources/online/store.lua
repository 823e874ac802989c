-- The online store in one hash: every change of it is one call of this script, which runs alone.
--
-- Fields that begin with a zero byte: \0current, the current generation; \0g:NUMBER, a draft or a replaced one; \0numbers, of
-- these; \0dead, of drafts whose values are being removed; \0last, the highest number; \0lease. All others are items.
-- A generation: "LAYOUT NUMBER FORMAT T0 HORIZON BUILT USERS BYTES COMPLETE APPLIED PUBLISHED REPLACED POSITION", times in
-- microseconds since 1970, "-" for none. Numbers stay text, since Lua's would lose digits.
-- An item: for each of its values rank, length (4 bytes each, big-endian; the highest length means no value), bytes.

local LAYOUT = "1"
local NONE = 4294967295
local NUMBER, BUILT, USERS, BYTES, COMPLETE, APPLIED, PUBLISHED, REPLACED, POSITION = 2, 6, 7, 8, 9, 10, 11, 12, 13
local store = KEYS[1]

local function get(field) return redis.call("HGET", store, field) or nil end
local function set(field, value) redis.call("HSET", store, field, value) end
local function text(number) return string.format("%.0f", number) end

local function now()
  local time = redis.call("TIME")
  return text(tonumber(time[1]) * 1000000 + tonumber(time[2]))
end

local function words(line)
  local found = {}
  for word in string.gmatch(line or "", "%S+") do found[#found + 1] = word end
  return found
end

-- The parts of a stored generation; nil if there is none, and an error for another layout.
local function generation(field)
  local line = get(field)
  if not line then return nil end
  local parts, at = {}, 1
  for place = 1, POSITION - 1 do
    local first, last = string.find(line, "%S+", at)
    parts[place] = string.sub(line, first, last)
    at = last + 2
  end
  parts[POSITION] = string.sub(line, at)
  return parts
end

local function without(field, number)
  local kept = {}
  for _, other in ipairs(words(get(field))) do
    if other ~= number then kept[#kept + 1] = other end
  end
  return kept
end

local function list(field, numbers)
  if #numbers > 0 then set(field, table.concat(numbers, " ")) else redis.call("HDEL", store, field) end
end

local function add(field, number)
  local numbers = without(field, number)
  numbers[#numbers + 1] = number
  list(field, numbers)
end

local function draft_of(number, built)
  local parts = generation("\0g:" .. number)
  if parts and parts[BUILT] == built and parts[PUBLISHED] == "-" then return parts end
  return nil
end

-- An error if this is not the present lease, or it has expired.
local function refusal(owner, token)
  local held = words(get("\0lease"))
  local holder = string.sub(get("\0lease") or "", #(held[1] or "") + #(held[2] or "") + 3)
  if held[1] == token and holder == owner and tonumber(held[2]) > tonumber(now()) then return nil end
  return redis.error_reply("LEASE " .. holder)
end

-- Calls visit(rank, first, last) for each value of an item, whose record is from first to last.
local function visit(item, each)
  local at = 1
  while at <= #item do
    local rank, size = struct.unpack(">I4I4", item, at)
    local last = at + 7 + (size == NONE and 0 or size)
    each(rank, at, last, size == NONE)
    at = last + 1
  end
end

-- Writes records of one rank: pairs of key and record, from ARGV[from] on.
local function put(rank, from)
  for first = from, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    local fields, changed = {}, {}
    for place = first, last, 2 do fields[#fields + 1] = ARGV[place] end
    local items = redis.call("HMGET", store, unpack(fields))
    for place, field in ipairs(fields) do
      local item = items[place] or ""
      local kept = ""
      visit(item, function(other, begin, finish)
        if other ~= rank then kept = kept .. string.sub(item, begin, finish) end
      end)
      changed[#changed + 1] = field
      changed[#changed + 1] = kept .. ARGV[first + 2 * place - 1]
    end
    redis.call("HSET", store, unpack(changed))
  end
end

local operations = {}

-- FORMAT T0 HORIZON. Returns a draft, or the numbers of dead ones that must be removed before.
function operations.begin(format, t0, horizon)
  for _, number in ipairs(words(get("\0numbers"))) do
    local parts = generation("\0g:" .. number)
    if parts and parts[PUBLISHED] == "-" then
      list("\0numbers", without("\0numbers", number))
      redis.call("HDEL", store, "\0g:" .. number)
      add("\0dead", number)
    end
  end
  local dead = words(get("\0dead"))
  if #dead > 0 then return dead end
  local below = generation("\0current")
  local number = text(redis.call("HINCRBY", store, "\0last", 1))
  local users, bytes = below and below[USERS] or "0", below and below[BYTES] or "0"
  local line = table.concat({LAYOUT, number, format, t0, horizon, now(), users, bytes, "0", "-", "-", "-", ""}, " ")
  set("\0g:" .. number, line)
  add("\0numbers", number)
  return line
end

-- NUMBER BUILT RANK USERS SIZE, then pairs of key and record.
function operations.put(number, built, rank, users, size)
  local parts = draft_of(number, built)
  if not parts then return redis.error_reply("DRAFT") end
  put(tonumber(rank), 7)
  parts[USERS] = text(tonumber(parts[USERS]) + tonumber(users))
  parts[BYTES] = text(tonumber(parts[BYTES]) + tonumber(size))
  set("\0g:" .. number, table.concat(parts, " "))
  return "OK"
end

function operations.complete(number, built, position)
  local parts = draft_of(number, built)
  if not parts then return redis.error_reply("DRAFT") end
  parts[COMPLETE], parts[POSITION] = "1", position
  set("\0g:" .. number, table.concat(parts, " "))
  return table.concat(parts, " ")
end

function operations.publish(owner, token, number, built, position)
  local refused = refusal(owner, token)
  if refused then return refused end
  local parts = draft_of(number, built)
  if not parts then return redis.error_reply("DRAFT") end
  if parts[COMPLETE] ~= "1" then return redis.error_reply("INCOMPLETE") end
  local former, time = generation("\0current"), now()
  list("\0numbers", without("\0numbers", number))
  redis.call("HDEL", store, "\0g:" .. number)
  if former then
    former[REPLACED] = time
    set("\0g:" .. former[NUMBER], table.concat(former, " "))
    add("\0numbers", former[NUMBER])
  end
  parts[PUBLISHED], parts[POSITION] = time, position
  set("\0current", table.concat(parts, " "))
  return table.concat(parts, " ")
end

-- Returns {token, end}; or false if another owner has it.
function operations.lease(owner, duration)
  local held, time = words(get("\0lease")), tonumber(now())
  local holder = string.sub(get("\0lease") or "", #(held[1] or "") + #(held[2] or "") + 3)
  local is_held = held[1] and tonumber(held[2]) > time
  if is_held and holder ~= owner then return false end
  local token = is_held and held[1] or text(math.max(tonumber(held[1] or "0") + 1, time))
  local finish = text(time + tonumber(duration))
  set("\0lease", token .. " " .. finish .. " " .. owner)
  return {token, finish}
end

function operations.release(owner, token)
  local held = words(get("\0lease"))
  if held[1] == token then set("\0lease", token .. " 0 " .. owner) end
  return "OK"
end

-- OWNER TOKEN POSITION NUMBER BUILT ("" for the current generation) AFTER ("NUMBER BUILT POSITION", "" for any), then pairs
-- of key and records without rank.
function operations.apply(owner, token, position, number, built, after)
  local field, parts = "\0current", nil
  if number == "" then parts = generation(field) else field, parts = "\0g:" .. number, draft_of(number, built) end
  if not parts then return redis.error_reply(number == "" and "EMPTY" or "DRAFT") end
  local refused = refusal(owner, token)
  if refused then return refused end
  if after ~= "" and after ~= table.concat({parts[NUMBER], parts[BUILT], parts[POSITION]}, " ") then
    return redis.error_reply("AFTER " .. parts[NUMBER] .. " " .. parts[POSITION])
  end
  local rank = 2 * tonumber(parts[NUMBER]) + 1
  for place = 9, #ARGV, 2 do ARGV[place] = struct.pack(">I4", rank) .. ARGV[place] end
  put(rank, 8)
  parts[APPLIED], parts[POSITION] = now(), position
  set(field, table.concat(parts, " "))
  return "OK"
end

-- FLOOR: forgets replaced generations below it.
function operations.forget(floor)
  for _, number in ipairs(words(get("\0numbers"))) do
    local parts = generation("\0g:" .. number)
    if tonumber(number) < tonumber(floor) and parts and parts[PUBLISHED] ~= "-" then
      list("\0numbers", without("\0numbers", number))
      redis.call("HDEL", store, "\0g:" .. number)
    end
  end
  return "OK"
end

-- NUMBER: its values have been removed.
function operations.buried(number)
  list("\0dead", without("\0dead", number))
  return "OK"
end

-- The needless values of an item are cut out. Returns the rest, and how many were cut.
local function cut(item, floor, dead)
  local newest = -1
  visit(item, function(rank) if rank % 2 == 0 and rank <= floor and not dead[rank] then newest = math.max(newest, rank) end end)
  local kept, removed = "", 0
  visit(item, function(rank, first, last, is_none)
    local is_needless = dead[rank] or (rank % 2 == 1 and rank < floor)
      or (rank % 2 == 0 and rank <= floor and (rank < newest or is_none))
    if is_needless then removed = removed + 1 else kept = kept .. string.sub(item, first, last) end
  end)
  return kept, removed
end

-- CURSOR COUNT FLOOR-RANK IS-REHEARSAL, then numbers of dead drafts. Returns {cursor, removed}.
function operations.sweep(cursor, count, floor, is_rehearsal)
  local dead, total = {}, 0
  for place = 6, #ARGV do dead[2 * ARGV[place]], dead[2 * ARGV[place] + 1] = true, true end
  local page = redis.call("HSCAN", store, cursor, "COUNT", count)
  for place = 1, #page[2], 2 do
    local field, item = page[2][place], page[2][place + 1]
    if string.sub(field, 1, 1) ~= "\0" then
      local kept, removed = cut(item, tonumber(floor), dead)
      total = total + removed
      if removed > 0 and is_rehearsal == "0" then
        if kept == "" then redis.call("HDEL", store, field) else set(field, kept) end
      end
    end
  end
  return {page[1], total}
end

-- CURSOR COUNT. Returns {cursor, values, streamed ones}.
function operations.count(cursor, count)
  local rows, streamed = 0, 0
  local page = redis.call("HSCAN", store, cursor, "COUNT", count)
  for place = 1, #page[2], 2 do
    if string.sub(page[2][place], 1, 1) ~= "\0" then
      visit(page[2][place + 1], function(rank) rows, streamed = rows + 1, streamed + rank % 2 end)
    end
  end
  return {page[1], rows, streamed}
end

-- CURSOR COUNT RANK PREFIX. Returns {cursor, keys with a built value}.
function operations.keys(cursor, count, rank, prefix)
  local found, limit = {}, tonumber(rank)
  local page = redis.call("HSCAN", store, cursor, "COUNT", count)
  for place = 1, #page[2], 2 do
    local field = page[2][place]
    if string.sub(field, 1, 1) ~= "\0" and string.sub(field, 1, #prefix) == prefix then
      local newest, has_value = -1, false
      visit(page[2][place + 1], function(other, _, _, is_none)
        if other % 2 == 0 and other <= limit and other > newest then newest, has_value = other, not is_none end
      end)
      if has_value then found[#found + 1] = field end
    end
  end
  return {page[1], found}
end

local current = get("\0current")
if current and words(current)[1] ~= LAYOUT then return redis.error_reply("LAYOUT " .. words(current)[1]) end
return operations[ARGV[1]](unpack(ARGV, 2, math.min(#ARGV, 7)))
