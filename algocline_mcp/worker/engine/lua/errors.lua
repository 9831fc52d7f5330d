-- Error texts for the author of a strategy: with positions and frames of the strategy and its modules only, never of
-- these files, and never empty.

local shared = ...
local find, format, gsub = string.find, string.format, string.gsub
local match, sub = string.match, string.sub
local concat = table.concat
local getinfo, getmetatable = debug.getinfo, debug.getmetatable
local error, pcall, select, type = error, pcall, select, type

-- A traceback shows SHOWN frames from either end, and looks for the innermost frames among the first SEARCHED: the time
-- to find a frame grows with its depth, and a runaway recursion is 200,000 frames deep.
local SHOWN, SEARCHED = 11, 200

-- A frame of Lua code that is not in these files.
local function is_shown(frame)
  return frame.what ~= "C" and sub(frame.source, 1, 5) ~= "=[alc"
end

local MARK = "\nend -- [alc]\n" -- between the text of a package and the code that runs it (languages.py)

-- A frame of the code behind a package's text, on a line that the file does not have; or of the code of a child.
local function is_launcher(frame)
  if frame.what == "main" and shared.is_child and frame.source == "@" .. shared.chunk then
    return true
  end
  local source = frame.what == "main" and shared.sources[sub(frame.source, 2)]
  local mark = source and find(source, MARK, 1, true)
  return mark and frame.currentline > select(2, gsub(sub(source, 1, mark), "\n", ""))
end

-- "panel.lua:3: ", the line where the strategy made the failing call. Of a tail call in a function, the line that called
-- the function; of one that began a chain, the line where that function begins.
local function where()
  local level = 2
  while true do
    local frame = getinfo(level, "Sl")
    if not frame then
      return (shared.place_of_chain() or shared.chunk) .. ": "
    elseif is_shown(frame) then
      return frame.short_src .. ":" .. frame.currentline .. ": "
    end
    level = level + 1
  end
end

shared.where = where

-- Raises a string error that points at the strategy's line.
function shared.fail(message)
  error(where() .. message, 0)
end

-- Results of a protected call of a standard function, or its error with the strategy's position and the function's
-- name: Lua's own text has no position and `?` as the name.
local function unwrap(name, ok, ...)
  if ok then
    return ...
  end
  local problem = ...
  if type(problem) == "string" and problem ~= shared.exhausted then
    problem = gsub(problem, "^%[alc[^:]*:%d+: ", "") -- a position in these files means nothing to the author
    if not find(problem, "^[^\n]-:%d+: ") then
      problem = where() .. gsub(problem, "'%?'", "'" .. name .. "'", 1)
    end
  end
  error(problem, 0)
end
shared.unwrap = unwrap

function shared.guard(name, native)
  return function(...)
    return unwrap(name, pcall(native, ...))
  end
end

-- The text of an error value of any type.
local function describe(problem)
  local kind = type(problem)
  if kind == "string" then
    return problem ~= "" and problem or "an error with an empty text"
  elseif kind == "number" then
    return shared.text(problem)
  elseif kind == "table" then
    local meta = getmetatable(problem)
    local ok, text = pcall(meta and rawget(meta, "__tostring") and shared.text or shared.encode, problem, "")
    if ok and text ~= "" then
      return text
    end
  end
  return "error raised with " .. (problem == nil and "nil" or kind == "boolean" and shared.text(problem)
    or problem == shared.null and "null" or shared.named(problem))
end
shared.describe = describe

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
  return low - 1 -- as the caller counts levels
end

local TAIL = "\n\t(...tail calls: Lua keeps no line of return f(…)...)"

-- "\nstack traceback:…", or "" when no frame belongs to the strategy. For the error text `sentence` it is shorter: without
-- the code behind a package, and "" where its only frame is the place that the sentence begins with. Without `sentence`
-- it stays as it ever was: a strategy may ask a prompt with it, and a replay compares prompts.
local function traceback(sentence)
  local lines, last = {}, deepest()
  local level, has_frame, is_tail = 2, false, false -- is_tail: a frame of these files took the place of the strategy's
  while level <= last do
    if #lines == SHOWN or level == SEARCHED then
      local resumed = last - SHOWN
      if resumed > level then
        lines[#lines + 1] = "\n\t..."
        level = resumed
      end
    end
    local frame = getinfo(level, "Slnt")
    if is_shown(frame) and not (sentence and is_launcher(frame)) then
      has_frame = true
      lines[#lines + 1] = (is_tail and TAIL or "") .. line_of(frame) .. (frame.istailcall and TAIL or "")
      is_tail = false
    else
      is_tail = is_tail or frame.istailcall
    end
    level = level + 1
  end
  local place = #lines == 1 and match(lines[1], "^\n\t(.-:%d+: )")
  local is_known = sentence and place and sub(sentence, 1, #place) == place
  return has_frame and not is_known and "\nstack traceback:" .. concat(lines) or ""
end

-- The only function of `debug` that strategies get; the common use is xpcall(f, debug.traceback).
function shared.traceback(message)
  if message ~= nil and type(message) ~= "string" and type(message) ~= "number" then
    return message
  end
  return (message or "") .. traceback()
end

-- The message handler of xpcall around a strategy.
function shared.explain(problem)
  local sentence = describe(problem)
  if find(sentence, "^attempt to ") then -- Lua's own text, raised in a function of C such as the iterator of ipairs
    sentence = where() .. sentence
  end
  return sentence .. shared.hint(sentence) .. traceback(sentence)
end

-- Lua's own text, and a hint where the text or the line of the source needs one.
function shared.explain_syntax(problem, source)
  if not find(problem, "syntax error", 1, true) then
    problem = "syntax error: " .. problem
  end
  local name = string.match(problem, "attempt to assign to const variable '([^']*)'")
  if name then
    problem = problem .. format(" (if it is a loop variable: Lua 5.5 does not let it be assigned, so copy it first,"
      .. " local my_%s = %s)", name, name)
  end
  return problem .. shared.syntax_hint(problem, source)
end

shared.exhausted = "not enough memory" -- the text that Lua itself raises
local function exceeded(who, bytes, variable)
  local limit_mib = bytes // (1024 * 1024)
  return format("out of memory: %s may use %d MiB; keep less in tables and strings, or raise %s",
    who, limit_mib, variable)
end

shared.heap_exceeded = exceeded("a strategy", shared.heap_bytes, "ALC_HEAP_BYTES")

-- Sets the smaller limit of a child of alc.fork.
function shared.limit_heap(bytes)
  shared.heap_bytes = bytes
  shared.heap_exceeded = exceeded("a child of alc.fork", bytes, "ALC_CHILD_HEAP_BYTES")
end
