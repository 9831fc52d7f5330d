-- Lua to JSON, in pure Lua as decode.lua: Lua then always runs out of memory inside a protected call.
--
-- A table is an array if #t > 0 or if it has the array metatable, else an object with sorted keys; so an empty table is
-- {} unless it was decoded from []. The holes of an array are null. A table that is both, an array with a named field,
-- is refused, because JSON would lose one part. nil, null, NaN and the infinities are null. An integer has no point; a
-- float always has a point or an exponent, and the fewest digits that read back the same. Bytes that are not UTF-8
-- become U+FFFD, as in Python's errors="replace", because a prompt may be cut inside a character.
-- Access is raw: no metamethod of a strategy runs in here, so the state of one call can be in upvalues.
--
-- Measured: 100 bytes 0.6 us; 1 MB of plain ASCII 3.8 ms, of Japanese 3.2 ms, of lines to escape 11 ms; 100,000 small
-- objects (7 MB) 0.5 s.

local shared = ...
local null = shared.null

local char, find, format, gsub, match, sub =
  string.char, string.find, string.format, string.gsub, string.match, string.sub
local concat, sort = table.concat, table.sort
local getmetatable, rawget, rawlen = debug.getmetatable, rawget, rawlen
local error, next, tonumber, tostring, type = error, next, tonumber, tostring, type
local math_type, setmetatable, utf8_len = math.type, setmetatable, utf8.len

local ARRAY = {} -- the array metatable
local REFUSED = {} -- the metatable of refused items of a batch, see refused.lua
shared.REFUSED = REFUSED
local REPLACEMENT = "\u{FFFD}"

-- strings ------------------------------------------------------------------------------------------------------

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}
for code = 0, 31 do
  ESCAPES[char(code)] = ESCAPES[char(code)] or format("\\u%04x", code)
end

-- The beginnings of well-formed characters, longest first. Where text is not UTF-8, each such beginning, and else each
-- single byte, becomes one U+FFFD (the Unicode standard's "maximal subpart").
local CUT = {
  "^\xF0[\x90-\xBF][\x80-\xBF]", "^[\xF1-\xF3][\x80-\xBF][\x80-\xBF]", "^\xF4[\x80-\x8F][\x80-\xBF]",
  "^\xF0[\x90-\xBF]", "^[\xF1-\xF3][\x80-\xBF]", "^\xF4[\x80-\x8F]",
  "^\xE0[\xA0-\xBF]", "^[\xE1-\xEC\xEE\xEF][\x80-\xBF]", "^\xED[\x80-\x9F]",
}

local function well_formed(text)
  local pieces, n, from = {}, 0, 1
  while true do
    local _, bad = utf8_len(text, from)
    pieces[n + 1] = sub(text, from, (bad or 0) - 1)
    if not bad then
      return concat(pieces)
    end
    n = n + 2
    pieces[n] = REPLACEMENT
    from = bad + 1
    for i = 1, #CUT do
      local _, last = find(text, CUT[i], bad)
      if last then
        from = last + 1
        break
      end
    end
  end
end

local function quote(text)
  if not utf8_len(text) then
    text = well_formed(text)
  end
  if not find(text, '^[^\0-\31"\\]*$') then -- anchored: four times as fast as a search for the opposite
    text = gsub(text, '[%c"\\]', ESCAPES)
  end
  return '"' .. text .. '"'
end

-- numbers ------------------------------------------------------------------------------------------------------

local SMALLEST_NORMAL = 0x1p-1022

local function number(value)
  if math_type(value) == "integer" then
    return tostring(value)
  elseif value ~= value or value == 1 / 0 or value == -1 / 0 then
    return "null"
  end
  -- 15 digits print every shorter decimal unchanged, except below the smallest normal number.
  local digits = (value < SMALLEST_NORMAL and value > -SMALLEST_NORMAL) and 1 or 15
  local text
  repeat
    text = format("%." .. digits .. "g", value)
    digits = digits + 1
  until tonumber(text) == value
  return find(text, "[.e]") and text or text .. ".0"
end

-- Lua to JSON --------------------------------------------------------------------------------------------------

local out, n -- the pieces of the JSON text, and their number
local path, open -- keys from the root; the tables being encoded, which show a loop
local limit -- levels of nesting

local function refuse(depth, problem)
  local parts = { path[0] }
  for i = 1, depth do
    local key = path[i]
    if math_type(key) then
      parts[#parts + 1] = "[" .. key .. "]"
    elseif match(key, "^[%a_][%w_]*$") then
      parts[#parts + 1] = "." .. key
    else
      parts[#parts + 1] = "[" .. quote(key) .. "]"
    end
  end
  error(concat(parts) .. " " .. problem, 0)
end

-- The length of an array: past its holes, as long as at most half of it is missing. Lua 5.5's own # often stops at the
-- first hole (#{1, nil, 3} is 1 and was 3 before), and elements would be lost. The second result is a key that is no
-- element, or nil.
local function length(array)
  local last, count, other = 0, 0, nil
  for key in next, array do
    if math_type(key) == "integer" and key > 0 then
      count = count + 1
      last = key > last and key or last
    elseif other == nil or other == "n" then
      other = key
    end
  end
  if last <= 2 * count then
    return last, other
  end
  return rawlen(array), other or last
end

local BOTH = "has list items and also the %s: JSON has arrays and objects and nothing of both kinds, so put the list"
  .. " into a field of its own, {items = {…}, name = …}"

local function described(key)
  if type(key) == "string" then
    return "named field " .. quote(key)
  elseif math_type(key) then
    return "key " .. tostring(key)
  end
  return "key of type " .. type(key)
end

local put

local function put_array(value, depth)
  local count, other = length(value)
  if other ~= nil and not (other == "n" and rawget(value, "n") == count) then -- as table.pack leaves it: nothing is lost
    refuse(depth - 1, format(BOTH, described(other)))
  end
  n = n + 1
  out[n] = "["
  for i = 1, count do
    if i > 1 then
      n = n + 1
      out[n] = ","
    end
    path[depth] = i
    put(rawget(value, i), depth)
  end
  n = n + 1
  out[n] = "]"
end

local function put_object(value, depth)
  local keys, count = {}, 0
  for key in next, value do
    if type(key) ~= "string" then
      refuse(depth - 1, "has a key of type " .. type(key) .. ": keys of a JSON object are strings, arrays begin at 1")
    end
    count = count + 1
    keys[count] = key
  end
  sort(keys)
  n = n + 1
  out[n] = "{"
  for i = 1, count do
    local key = keys[i]
    n = n + 1
    out[n] = (i > 1 and "," or "") .. quote(key) .. ":"
    path[depth] = key
    put(rawget(value, key), depth)
  end
  n = n + 1
  out[n] = "}"
end

function put(value, depth)
  local kind = type(value)
  if kind == "table" then
    local meta = getmetatable(value)
    if open[value] then
      refuse(depth, "contains itself: a recursive table has no JSON")
    elseif depth == limit then
      refuse(depth, "is nested deeper than " .. limit .. " levels (ALC_JSON_DEPTH)")
    elseif meta == REFUSED then
      local json, problem = shared.encode_refused(value)
      n = n + 1
      out[n] = json or refuse(depth, "is an answer that was refused: " .. problem)
      return
    end
    open[value] = true
    if rawlen(value) > 0 or meta == ARRAY then
      put_array(value, depth + 1)
    else
      put_object(value, depth + 1)
    end
    open[value] = nil
    return
  end
  n = n + 1
  if kind == "string" then
    out[n] = quote(value)
  elseif kind == "number" then
    out[n] = number(value)
  elseif kind == "boolean" then
    out[n] = value and "true" or "false"
  elseif value == nil or value == null then
    out[n] = "null"
  else
    refuse(depth, "is a " .. kind .. ": JSON has no such value")
  end
end

-- The JSON of `value`. `root` names the value in errors, which are strings without a position. `around`: levels that
-- this program has put around the strategy's own value.
local function encode(value, root, around)
  local kind = type(value)
  if kind == "string" then
    return quote(value)
  elseif kind == "number" then
    return number(value)
  end
  out, n, path, open, limit = {}, 0, { [0] = root }, {}, shared.json_depth + (around or 0)
  put(value, 0)
  local text = concat(out)
  out, path, open = nil, nil, nil
  return text
end

-- Marks the table as an array, also when it is empty.
local function as_array(list)
  return setmetatable(list, ARRAY)
end

shared.encode, shared.quote, shared.length, shared.ARRAY, shared.as_array = encode, quote, length, ARRAY, as_array
