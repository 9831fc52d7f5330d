-- Strategies side by side, each in a runtime of its own.

local room = ...
local find, pcall, sub, type = string.find, pcall, string.sub, type
local alc, ask, complain, encode, quote, text = room.alc, room.ask, room.complain, room.encode, room.quote, room.text
local as_array, length, options_of = room.as_array, room.length, room.options_of

local MODES = { skip = "skip", fail = "fail", abort = "fail" } -- the original's pages say fail, its code abort

local function names_of(strategies)
  local count = type(strategies) == "table" and length(strategies) or 0
  if count == 0 then
    complain("fork.strategies")
  end
  local names = {}
  for i = 1, count do
    local name = strategies[i]
    if type(name) ~= "string" or not find(name, "^[A-Za-z0-9_]+$") then
      complain("fork.name", text(name))
    end
    names[i] = name
  end
  return encode(as_array(names), "strategies")
end

local function json_of(ctx)
  if type(ctx) ~= "table" then
    complain("fork.ctx")
  end
  local json = room.settled("alc.fork", pcall(encode, ctx, "ctx"))
  if sub(json, 1, 1) ~= "{" then
    complain("fork.ctx")
  end
  return json
end

-- What `require(name).run(ctx)` returns for each name, all at work at once: {strategy, ok, result or error}.
function alc.fork(strategies, ctx, options)
  local names, json = names_of(strategies), json_of(ctx)
  options = options_of(options, "alc.fork")
  local mode = options.on_error == nil and "skip" or options.on_error
  if not MODES[mode] then
    complain("fork.mode", text(mode))
  end
  local reply = ask('{"ctx":' .. json .. ',"on_error":' .. quote(MODES[mode]) .. ',"op":"fork","strategies":' .. names .. "}")
  if reply.failed then
    complain("fork.failed", reply.failed.strategy, reply.failed.error)
  end
  return reply.entries
end
