-- Functions that read answers, cut text and write text: those of stdlib.py with Lua's arguments, and alc.fmt, a
-- string.format for values that come from a model.

local shared = ...
local find, format, match, sub = string.find, string.format, string.match, string.sub
local floor, math_type, tointeger = math.floor, math.type, math.tointeger
local concat, error, select, tonumber, type = table.concat, error, select, tonumber, type
local alc, library, complain, defaults, null = shared.alc, shared.library, shared.complain, shared.defaults, shared.null
local decode, text, pcall = shared.decode, shared.text, pcall

-- The text of a string or number.
local function text_of(value, name)
  if type(value) == "string" then
    return value
  elseif type(value) == "number" then
    return text(value)
  end
  shared.raise_refused(value)
  complain("argument", name, "the text", "a string", type(value))
end

local function options_of(options, name)
  if options == nil or options == null then
    return {}
  elseif type(options) ~= "table" then
    complain("argument", name, "the last argument", "a table of options", type(options))
  end
  return options
end
shared.text_of, shared.options_of = text_of, options_of

local function whole(value, default, name, what)
  if value == nil then
    return default
  end
  local number = tonumber(value)
  local count = number and tointeger(floor(number))
  if not count then
    complain("argument", name, what, "a whole number", text(value))
  end
  return count
end

function alc.chunk(value, options)
  value, options = text_of(value, "alc.chunk"), options_of(options, "alc.chunk")
  local size = whole(options.size, defaults.chunk_size, "alc.chunk", "size")
  local overlap = whole(options.overlap, 0, "alc.chunk", "overlap")
  return library("chunk", value, options.mode == "chars" and "chars" or "lines", size, overlap)
end

function alc.match_enum(value, candidates, options)
  value, options = text_of(value, "alc.match_enum"), options_of(options, "alc.match_enum")
  if type(candidates) ~= "table" then
    complain("argument", "alc.match_enum", "the candidates", "an array of strings", type(candidates))
  end
  local names = {}
  for i = 1, shared.length(candidates) do
    names[i] = text_of(candidates[i], "alc.match_enum")
  end
  if #names == 0 then
    return nil
  end
  local index = library("match_enum", value, names, tonumber(options.threshold) or defaults.enum_threshold)
  return index and candidates[index + 1]
end

function alc.match_bool(value)
  return library("match_bool", text_of(value, "alc.match_bool"))
end

function alc.parse_score(value, default)
  local score = library("parse_score", text(value))
  if score == nil then
    return default == nil and defaults.score or default
  end
  return score
end

-- `pattern` is a Lua pattern; the result is its first capture.
function alc.parse_number(value, pattern)
  if type(value) ~= "string" then
    return nil
  elseif pattern ~= nil then
    return tonumber((shared.unwrap("match", pcall(match, value, pattern))))
  end
  return library("parse_number", value)
end

function alc.fingerprint(value)
  return library("fingerprint", text(value))
end

function alc.json_extract(raw)
  if type(raw) ~= "string" then
    return nil
  end
  local json = library("json_extract", raw)
  if json then
    local ok, value = pcall(decode, json) -- Lua's decoder is stricter than Python's: it limits the depth
    if ok or value == shared.exhausted then
      return ok and value or error(value, 0)
    end
  end
end

-- alc.fmt ------------------------------------------------------------------------------------------------------

local WHOLE = { d = "d", i = "d", u = "d", o = "o", x = "x", X = "X", c = "c" }
local FLOAT = { a = true, A = true, e = true, E = true, f = true, F = true, g = true, G = true }

local function rounded(value)
  local nearest = value < 0 and -floor(-value + 0.5) or floor(value + 0.5)
  return tointeger(nearest)
end

-- The text of NaN and the infinities, which have no digits; nil for another number.
local function special(value)
  if value ~= value then
    return "NaN"
  elseif value == 1 / 0 then
    return "Inf"
  elseif value == -1 / 0 then
    return "-Inf"
  end
end

local function formatted(flags, conversion, value, place)
  local is_whole = WHOLE[conversion]
  if is_whole or FLOAT[conversion] then
    local number = tonumber(value) or value
    if type(number) == "number" then
      local name = special(number)
      if name then
        return format("%" .. (match(flags, "%-") or "") .. (match(flags, "^[-+ #0]*(%d*)") or "") .. "s", name)
      elseif is_whole and math_type(number) == "float" then
        local whole_number = rounded(number)
        if not whole_number then -- beyond 64 bits
          return format("%.0f", number)
        end
        number = whole_number
      end
    else
      error("bad argument #" .. place .. " to 'fmt' (number expected, got " .. type(number) .. ")", 0)
    end
    return format("%" .. flags .. (is_whole or conversion), number)
  elseif conversion == "s" then
    return format("%" .. flags .. "s", value == nil and "<nil>" or text(value))
  end
  return format("%" .. flags .. conversion, value)
end

local function filled(template, ...)
  local pieces, n, at, used, count = {}, 0, 1, 0, select("#", ...)
  while true do
    local from, to, flags, conversion = find(template, "%%([-+ #0-9.]*)(.)", at)
    if not from then
      pieces[n + 1] = sub(template, at)
      return concat(pieces)
    end
    pieces[n + 1] = sub(template, at, from - 1)
    if conversion == "%" then
      pieces[n + 2] = "%"
    else
      used = used + 1
      if used > count then
        error("bad argument #" .. used + 1 .. " to 'fmt' (no value)", 0)
      end
      pieces[n + 2] = formatted(flags, conversion, (select(used, ...)), used + 1)
    end
    n, at = n + 2, to + 1
  end
end

function alc.fmt(template, ...)
  if template == nil then
    return ""
  end
  return shared.unwrap("fmt", pcall(filled, text_of(template, "alc.fmt"), ...))
end

function alc.log_fmt(level, template, ...)
  alc.log(level, alc.fmt(template, ...))
end
