-- Names the key of ctx behind an error about nil: a key that the strategy reads and that was not given. Computed only
-- where a strategy fails.

local shared = ...
local find, gmatch, match, sub = string.find, string.gmatch, string.match, string.sub
local concat, sort = table.concat, table.sort
local ipairs, next, rawget, tonumber, type = ipairs, next, rawget, tonumber, type

local NOTHING = {} -- for most lines of a long source, which cost nothing else
local LINE = 400 -- bytes of a line that are searched, so that a long line costs no more than many short ones

shared.sources = {} -- chunk -> source: of the strategy and of its modules

local function lines_of(source)
  local lines = {}
  for line in gmatch(source .. "\n", "([^\n]*)\n") do
    lines[#lines + 1] = sub(line, 1, LINE)
  end
  return lines
end

-- Patterns of another name of ctx.
local OTHER_NAMES = {
  "%f[%w_]([%a_][%w_]*)%s*=%s*ctx%s*$", -- local input = ctx
  "%f[%w_]([%a_][%w_]*)%s*=%s*ctx%s+or%s", -- local input = ctx or {}
  "%f[%w_]run%s*%(%s*([%a_][%w_]*)", -- function M.run(input)
  "%f[%w_]run%s*=%s*function%s*%(%s*([%a_][%w_]*)", -- run = function(input)
}

local function names_of_ctx(lines)
  local names = { ctx = true }
  for _, line in ipairs(lines) do
    local has_name = find(line, "ctx", 1, true) or find(line, "run", 1, true)
    for _, pattern in ipairs(has_name and OTHER_NAMES or NOTHING) do
      local name = match(line, pattern)
      if name then
        names[name] = true
      end
    end
  end
  return names
end

-- Patterns of the read of a field: the table, the field, and where the read ends.
local READS = {
  "%f[%w_]()([%a_][%w_]*)%s*%.%s*([%a_][%w_]*)()",
  "%f[%w_]()([%a_][%w_]*)%s*%[%s*[\"']([^\"'%]]*)[\"']%s*%]()",
}

-- The missing keys of ctx that a line reads without a default -> the name of the variable that gets the value, or "".
local function missing_in(line, names)
  if not find(line, "[.%[]") then
    return NOTHING
  end
  local keys = {}
  for _, pattern in ipairs(READS) do
    for start, owner, key, stop in gmatch(line, pattern) do
      local has_default = find(line, "^%s*or%f[^%w_]", stop)
      local is_assigned = find(line, "^%s*=[^=]", stop)
      if names[owner] and rawget(shared.given, key) == nil and not (has_default or is_assigned) then
        keys[key] = match(sub(line, 1, start - 1), "([%a_][%w_]*)%s*=%s*$") or ""
      end
    end
  end
  return keys
end

-- The missing keys that may have made the error: the one that it names, else those of its line. A variable stands for
-- the key that was assigned to it.
local function suspects(lines, number, name)
  local names, here, by_variable, found = names_of_ctx(lines), lines[number], {}, {}
  for _, line in ipairs(lines) do
    for key, variable in next, missing_in(line, names) do
      if key == name then
        return { key }
      end
      by_variable[variable] = key
    end
  end
  if name then
    return { by_variable[name] }
  end
  local is_found = {}
  for key in next, missing_in(here, names) do
    is_found[key] = true
  end
  for word in gmatch(here, "[%a_][%w_]*") do
    if by_variable[word] then
      is_found[by_variable[word]] = true
    end
  end
  for key in next, is_found do
    found[#found + 1] = key
  end
  sort(found)
  return found
end

-- "not given: ctx.items"; "write ctx.items" where it was given and a global is read; or nil. `problem` is the first line
-- of an error's text.
function shared.not_given(problem)
  local chunk, number = match(problem, "^(.-):(%d+): ")
  local source = chunk and shared.sources[chunk]
  if not source or type(shared.given) ~= "table" or not find(problem, "%f[%w_]nil%f[^%w_]") then
    return nil
  end
  local kind, name = match(problem, "nil value %((%a+) '([%a_][%w_]*)'%)")
  if kind == "global" and rawget(shared.given, name) ~= nil then
    return "write ctx." .. name
  end
  local lines = lines_of(source)
  local keys = lines[tonumber(number)] and suspects(lines, tonumber(number), name) or {}
  return #keys > 0 and "not given: ctx." .. concat(keys, ", ctx.") or nil
end
