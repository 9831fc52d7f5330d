-- alc.env, the environment variables, and `std`, where evalframe expects JSON, files and the clock. Each read of a
-- variable is an effect, recorded and replayed.

local shared = ...
local alc, complain, null = shared.alc, shared.complain, shared.null
local setmetatable, type = setmetatable, type

local function variable(name)
  if type(name) ~= "string" then
    complain("argument", "alc.env", "a name", "a string", type(name))
  end
  local value = shared.call("env", name)
  if value ~= null then
    return value
  end
end

-- alc.env.NAME is nil where there is no such variable. These two are methods of alc.env.
local methods = {}

function methods.get(_, name, default)
  local value = variable(name)
  if value == nil then
    return default
  end
  return value
end

-- Several variables at once: name -> value. The first missing variable is an error.
function methods.use(_, names)
  if type(names) ~= "table" then
    complain("argument", "alc.env:use", "the names", "an array of strings", type(names))
  end
  local values = {}
  for i = 1, shared.length(names) do
    local value = variable(names[i])
    if value == nil then
      complain("env.missing", names[i])
    end
    values[names[i]] = value
  end
  return values
end

alc.env = setmetatable({}, {
  __index = function(_, name)
    return methods[name] or variable(name)
  end,
  __newindex = function()
    complain("env.readonly")
  end,
  __metatable = "locked",
})

shared.public.std = {
  json = { encode = alc.json_encode, decode = alc.json_decode },
  fs = {
    read = function(path)
      shared.fail(shared.text(path) .. ": No such file: a strategy has none")
    end,
    is_file = function()
      return false
    end,
  },
  time = { now = alc.time },
}
