-- Builds the environment of strategies, once per prepared runtime, and returns the function that runs a strategy in it.
--
-- Arguments: Python's exchange with the keeper; Python's pure functions (stdlib.py); texts and defaults as JSON;
-- heap_bytes, line_bytes, json_depth; then the other files as name, text, name, text, ….
-- The files use `shared`, a table that no strategy can reach, and copies of the unchanged standard library: what a
-- strategy does to string, table or math does not change their behaviour.

local call, perform, texts, heap_bytes, line_bytes, json_depth = ...

-- Python's None is JSON's null: a userdata, so it is true, equals itself and can be a key. Its Python metamethods are
-- removed; a name remains for Lua's own errors ("attempt to index a null value (field 'x')"). All objects of Python
-- have this one metatable; __gc stays, because it counts references.
local null = python.none
local exchange = python.as_function(call)
local library = python.as_function(perform)
local meta = debug.getmetatable(null)
for name in pairs(meta) do
  if name ~= "__gc" then
    meta[name] = nil
  end
end
meta.__name, meta.__metatable = "null", "null"
meta.__tostring = function() return "null" end
python, package.loaded.python = nil, nil

local shared = {
  null = null,
  exchange = exchange,
  perform = library,
  texts = texts,
  heap_bytes = heap_bytes,
  line_bytes = line_bytes,
  json_depth = json_depth,
  public = _G,
}

local native = {}
for name, value in pairs(_G) do
  if type(value) == "table" and value ~= _G then
    local copy = {}
    for key, item in pairs(value) do
      copy[key] = item
    end
    value = copy
  end
  native[name] = value
end
native._G = native

for i = 7, select("#", ...), 2 do
  local name, source = select(i, ...)
  assert(load(source, "=[alc." .. name .. "]", "t", native))(shared)
end

return shared.run
