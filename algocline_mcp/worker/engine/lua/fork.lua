-- alc.fork: runs strategies in parallel, each in an engine of its own.

local shared = ...
local find, pcall, sub, type = string.find, pcall, string.sub, type
local alc, ask, complain = shared.alc, shared.ask, shared.complain
local encode, quote, text = shared.encode, shared.quote, shared.text
local as_array, length, options_of = shared.as_array, shared.length, shared.options_of

local MODES = { skip = "skip", fail = "fail", abort = "fail" } -- upstream documents fail, its code takes abort

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
  local json = shared.unwrap_json("alc.fork", pcall(encode, ctx, "ctx"))
  if sub(json, 1, 1) ~= "{" then
    complain("fork.ctx")
  end
  return json
end

-- Runs `require(name).run(ctx)` for all names in parallel. Returns {strategy, ok, result or error} for each.
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
