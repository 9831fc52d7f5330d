-- Builds the world of a strategy, once per prepared runtime, and returns the function that runs one in it.
--
-- Arguments: Python's exchange with the keeper, and its library of pure functions; the library's texts and defaults as
-- JSON; heap_bytes, line_bytes, json_depth; then the other files as name, text, name, text, ….
-- They share `room`, a table that no strategy reaches, and see copies of the standard library as it was before, so
-- that nothing a strategy does to string, table or math changes what they do.

local call, perform, words, heap_bytes, line_bytes, json_depth = ...

-- Python's None is JSON's null: a userdata, so it is true, equals itself and survives as a key. Python's side of it is
-- taken off; what is left is a name for Lua's own errors ("attempt to index a null value (field 'x')"). All objects of
-- Python have this one metatable; __gc stays, it counts references.
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

local room = {
  null = null,
  exchange = exchange,
  perform = library,
  words = words,
  heap_bytes = heap_bytes,
  line_bytes = line_bytes,
  json_depth = json_depth,
  public = _G,
}

local native = {}
for name, value in pairs(_G) do
  if type(value) == "table" and value ~= _G then
    local copy = {}
    for key, each in pairs(value) do
      copy[key] = each
    end
    value = copy
  end
  native[name] = value
end
native._G = native

for i = 7, select("#", ...), 2 do
  local name, source = select(i, ...)
  assert(load(source, "=[alc." .. name .. "]", "t", native))(room)
end

return room.run
