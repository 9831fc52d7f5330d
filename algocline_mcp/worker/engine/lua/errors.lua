-- What a strategy's author reads when something goes wrong: positions and frames of the strategy and its modules
-- only, never of these files, and never an empty text.

local room = ...
local find, format, gsub, sub = string.find, string.format, string.gsub, string.sub
local concat = table.concat
local getinfo, getmetatable = debug.getinfo, debug.getmetatable
local error, pcall, type = error, pcall, type

-- How many frames from either end a traceback shows, and how deep the innermost ones are looked for: finding a frame
-- takes as long as it is deep, and a runaway recursion is 200,000 frames deep.
local SHOWN, SEARCHED = 11, 200

-- Not C, and not one of these files.
local function is_shown(frame)
  return frame.what ~= "C" and sub(frame.source, 1, 5) ~= "=[alc"
end

-- "panel.lua:3: ", where the strategy called what now fails. `return alc.llm(…)` in the main chunk is a tail call, of
-- which Lua keeps no line: then the name alone.
local function where()
  local level = 2
  while true do
    local frame = getinfo(level, "Sl")
    if not frame then
      return room.chunk .. ": "
    elseif is_shown(frame) then
      return frame.short_src .. ":" .. frame.currentline .. ": "
    end
    level = level + 1
  end
end

-- Raises a string error that points at the strategy's line.
function room.fail(message)
  error(where() .. message, 0)
end

-- A standard function behind one of ours: the text of its own errors has no position and, for a name, a '?'.
local function settle(name, ok, ...)
  if ok then
    return ...
  end
  local problem = ...
  if type(problem) == "string" and problem ~= room.exhausted then
    problem = gsub(problem, "^%[alc[^:]*:%d+: ", "") -- these files are no place to point at
    if not find(problem, "^[^\n]-:%d+: ") then
      problem = where() .. gsub(problem, "'%?'", "'" .. name .. "'", 1)
    end
  end
  error(problem, 0)
end
room.settle = settle

function room.guard(name, native)
  return function(...)
    return settle(name, pcall(native, ...))
  end
end

-- Text of whatever was raised.
local function describe(problem)
  local kind = type(problem)
  if kind == "string" then
    return problem ~= "" and problem or "an error with an empty text"
  elseif kind == "number" then
    return room.text(problem)
  elseif kind == "table" then
    local meta = getmetatable(problem)
    local ok, text = pcall(meta and rawget(meta, "__tostring") and room.text or room.encode, problem, "")
    if ok and text ~= "" then
      return text
    end
  end
  return "error raised with " .. (problem == nil and "nil" or kind == "boolean" and room.text(problem)
    or problem == room.null and "null" or room.named(problem))
end
room.describe = describe

local function line_of(frame)
  local text
  if frame.what == "main" then
    text = "main chunk"
  elseif frame.namewhat ~= "" then
    text = frame.namewhat .. " '" .. frame.name .. "'"
  else
    text = format("function <%s:%d>", frame.short_src, frame.linedefined)
  end
  return format("\n\t%s:%d: in %s", frame.short_src, frame.currentline, text)
end

local function deepest()
  local low, high = 1, 1
  while getinfo(high, "l") do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = (low + high) // 2
    if getinfo(middle, "l") then
      low = middle
    else
      high = middle
    end
  end
  return low - 1 -- as the caller counts
end

-- "\nstack traceback:…", or "" when no frame is the strategy's.
local function traceback()
  local lines, last = {}, deepest()
  local level = 2
  while level <= last do
    if #lines == SHOWN or level == SEARCHED then
      local resumed = last - SHOWN
      if resumed > level then
        lines[#lines + 1] = "\n\t..."
        level = resumed
      end
    end
    local frame = getinfo(level, "Slnt")
    if is_shown(frame) then
      lines[#lines + 1] = line_of(frame) .. (frame.istailcall and "\n\t(...tail calls...)" or "")
    end
    level = level + 1
  end
  return #lines > 0 and "\nstack traceback:" .. concat(lines) or ""
end

-- The only thing of `debug` that strategies get; xpcall(f, debug.traceback) is its common use.
function room.traceback(message)
  if message ~= nil and type(message) ~= "string" and type(message) ~= "number" then
    return message
  end
  return (message or "") .. traceback()
end

-- The message handler of a run.
function room.explain(problem)
  return describe(problem) .. traceback()
end

-- Lua's own words, and what they do not say.
function room.explain_syntax(problem)
  if not find(problem, "syntax error", 1, true) then
    problem = "syntax error: " .. problem
  end
  local name = string.match(problem, "attempt to assign to const variable '([^']*)'")
  if name then
    problem = problem .. format(" (if it is a loop variable: Lua 5.5 does not let it be assigned, so copy it first,"
      .. " local my_%s = %s)", name, name)
  end
  return problem
end

room.exhausted = "not enough memory" -- the text Lua raises, which cannot be chosen
local function exceeded(who, bytes, variable)
  local most = bytes // (1024 * 1024)
  return format("out of memory: %s may use %d MiB; keep less in tables and strings, or raise %s", who, most, variable)
end

room.heap_exceeded = exceeded("a strategy", room.heap_bytes, "ALC_HEAP_BYTES")

-- A child of alc.fork has less.
function room.limit_heap(bytes)
  room.heap_bytes = bytes
  room.heap_exceeded = exceeded("a child of alc.fork", bytes, "ALC_CHILD_HEAP_BYTES")
end
