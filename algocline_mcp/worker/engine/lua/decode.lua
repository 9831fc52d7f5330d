-- JSON to Lua, strictly. Arrays get the array metatable, so that [] stays an array; null is shared.null; integers
-- outside 64 bits become floats; half a surrogate pair becomes U+FFFD.
--
-- Measured: 100 bytes 0.6 us; 1 MB of plain ASCII 2.1 ms, of Japanese 2.2 ms, of lines with escapes 7 ms, of \u escapes
-- 36 ms; 100,000 small objects (7 MB) 0.5 s.

local shared = ...
local null, ARRAY = shared.null, shared.ARRAY

local byte, find, format, gmatch, gsub, sub =
  string.byte, string.find, string.format, string.gmatch, string.gsub, string.sub
local error, setmetatable, tonumber = error, setmetatable, tonumber
local utf8_char = utf8.char

local REPLACEMENT = "\u{FFFD}"

local text
local limit -- levels of nesting

local function bad(problem, at)
  local lines = 1
  for _ in gmatch(sub(text, 1, at - 1), "\n") do
    lines = lines + 1
  end
  error(format("%s at byte %d (line %d)", problem, at, lines), 0)
end

-- "\u" becomes "\2" and a doubled backslash "\1": control characters are refused first, so no string has these bytes.
local SIMPLE = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", u = "\2", ["/"] = "/", ['"'] = '"' }
setmetatable(SIMPLE, { __index = function(_, letter) error("invalid escape \\" .. letter .. " in a string", 0) end })

local function by_code(_, hex)
  if #hex < 4 then
    error("invalid escape \\u" .. hex .. " in a string", 0)
  end
  local code = tonumber(hex, 16)
  return code >= 0xD800 and code <= 0xDFFF and REPLACEMENT or utf8_char(code)
end
local BY_CODE = setmetatable({}, { __index = by_code })

local function pair(high, low)
  return utf8_char(0x10000 + ((tonumber(high, 16) & 0x3FF) << 10) + (tonumber(low, 16) & 0x3FF))
end

-- A few passes in C are faster than a call per escape.
local function unescape(piece)
  local is_doubled = find(piece, "\\\\", 1, true)
  if is_doubled then
    piece = gsub(piece, "\\\\", "\1")
  end
  piece = gsub(piece, "\\(.?)", SIMPLE)
  local is_coded = find(piece, "\2", 1, true)
  if is_coded and find(piece, "\2[dD][89abAB]") then
    piece = gsub(piece, "\2([dD][89abAB]%x%x)\2([dD][c-fC-F]%x%x)", pair)
  end
  if is_doubled then
    piece = gsub(piece, "\1", "\\")
  end
  if is_coded then
    piece = gsub(piece, "\2(%x?%x?%x?%x?)", BY_CODE)
  end
  return piece
end

local function string_at(i) -- i: the byte after the opening quote
  local close = i - 1
  repeat
    close = find(text, '"', close + 1, true)
    if not close then
      bad("a string without an end", i - 1)
    end
    local before = close - 1
    while byte(text, before) == 92 do
      before = before - 1
    end
  until (close - before) % 2 == 1 -- until the quote has an even number of backslashes before it
  local piece = sub(text, i, close - 1)
  local _, clean = find(piece, "^[^\0-\31]*")
  if clean < #piece then
    bad("a control character in a string, write it as an escape", i + clean)
  end
  if find(piece, "\\", 1, true) then
    piece = unescape(piece)
  end
  return piece, close + 1
end

local function number_at(i)
  local _, last = find(text, "^-?%d+", i)
  if not last then
    bad(i > #text and "the text ends too early" or "no JSON value", i)
  elseif find(text, "^-?0%d", i) then
    bad("a number with a leading zero", i)
  end
  _, last = find(text, "^%.?%d*", last + 1)
  if byte(text, last) == 46 then
    bad("a number without digits after its point", last)
  end
  local _, exponent = find(text, "^[eE][+-]?%d+", last + 1)
  last = exponent or last
  local value = tonumber(sub(text, i, last))
  if value == 1 / 0 or value == -1 / 0 then
    bad("a number out of range", i)
  end
  return value, last + 1
end

local function solid(i) -- the first byte from i on that is not white space
  local code = byte(text, i)
  if code and code > 32 then
    return i
  end
  return find(text, "[^ \t\r\n]", i) or #text + 1
end

local value_at

local function array_at(i, depth)
  local array, count = setmetatable({}, ARRAY), 0
  i = solid(i)
  if byte(text, i) == 93 then
    return array, i + 1
  end
  while true do
    count = count + 1
    array[count], i = value_at(i, depth)
    i = solid(i)
    local code = byte(text, i)
    if code == 93 then
      return array, i + 1
    elseif code ~= 44 then
      bad("expected ',' or ']'", i)
    end
    i = i + 1
  end
end

local function object_at(i, depth)
  local object = {}
  i = solid(i)
  if byte(text, i) == 125 then
    return object, i + 1
  end
  while true do
    if byte(text, i) ~= 34 then
      bad("expected a key in quotes", i)
    end
    local key, value
    key, i = string_at(i + 1)
    i = solid(i)
    if byte(text, i) ~= 58 then
      bad("expected ':'", i)
    end
    value, i = value_at(i + 1, depth)
    object[key] = value
    i = solid(i)
    local code = byte(text, i)
    if code == 125 then
      return object, i + 1
    elseif code ~= 44 then
      bad("expected ',' or '}'", i)
    end
    i = solid(i + 1)
  end
end

local WORDS = { [116] = { "true", true }, [102] = { "false", false }, [110] = { "null", null } }

function value_at(i, depth)
  i = solid(i)
  local code = byte(text, i)
  if code == 34 then
    return string_at(i + 1)
  elseif code == 123 or code == 91 then
    if depth == limit then
      bad("nested deeper than " .. limit .. " levels (ALC_JSON_DEPTH)", i)
    end
    return (code == 123 and object_at or array_at)(i + 1, depth + 1)
  end
  local word = WORDS[code]
  if word and sub(text, i, i + #word[1] - 1) == word[1] then
    return word[2], i + #word[1]
  end
  return number_at(i)
end

-- The value of a JSON text. Errors are strings that name the byte. `around`: levels that the text may nest deeper than
-- a value of the strategy.
local function decode(json, around)
  text, limit = json, shared.json_depth + (around or 0)
  local value, i = value_at(1, 0)
  i = solid(i)
  if i <= #json then
    bad("more after the end of the value", i)
  end
  text = nil
  return value
end

shared.decode = decode
