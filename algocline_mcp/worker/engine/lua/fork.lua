-- alc.fork and alc.call: run packages of any language, each in an engine of its own.

local shared = ...
local find, pcall, sub, type = string.find, pcall, string.sub, type
local alc, ask, complain = shared.alc, shared.ask, shared.complain
local encode, quote, text = shared.encode, shared.quote, shared.text
local as_array, length, options_of, null = shared.as_array, shared.length, shared.options_of, shared.null

local MODES = { skip = "skip", fail = "fail", abort = "fail" } -- upstream documents fail, its code takes abort

local function checked(name, fn)
  if type(name) ~= "string" or not find(name, "^[A-Za-z0-9_]+$") then
    complain("fork.name", fn, text(name))
  end
  return name
end

local function names_of(strategies)
  local count = type(strategies) == "table" and length(strategies) or 0
  if count == 0 then
    complain("fork.strategies")
  end
  local names = {}
  for i = 1, count do
    names[i] = checked(strategies[i], "alc.fork")
  end
  return names
end

local function json_of(ctx, fn)
  if type(ctx) ~= "table" then
    complain("fork.ctx", fn)
  end
  local json = shared.unwrap_json(fn, pcall(encode, ctx, "ctx"))
  if sub(json, 1, 1) ~= "{" then
    complain("fork.ctx", fn)
  end
  return json
end

local function entries_of(names, ctx, mode, fn)
  local json, list = json_of(ctx, fn), encode(as_array(names), "strategies")
  local reply = ask('{"ctx":' .. json .. ',"on_error":' .. quote(mode) .. ',"op":"fork","strategies":' .. list .. "}")
  if reply.failed then
    complain("fork.failed", fn, reply.failed.strategy, reply.failed.error)
  end
  return reply.entries
end

-- Runs `require(name).run(ctx)` for all names in parallel. Returns {strategy, ok, result or error} for each.
function alc.fork(strategies, ctx, options)
  local names = names_of(strategies)
  options = options_of(options, "alc.fork")
  local mode = options.on_error == nil and "skip" or options.on_error
  if not MODES[mode] then
    complain("fork.mode", text(mode))
  end
  return entries_of(names, ctx, MODES[mode], "alc.fork")
end

-- Runs one package. Returns its result; its failure is an error.
local function call(name, ctx)
  local result = entries_of({ checked(name, "alc.call") }, ctx == nil and {} or ctx, "fail", "alc.call")[1].result
  if result ~= null then
    return result
  end
end

alc.call = call

-- A package in Python, as `require` returns one in Lua: `run` runs it in an engine of its own.
function shared.package_in_python(name, source)
  return {
    meta = shared.library("package_meta", source),
    run = function(ctx)
      return call(name, ctx)
    end,
  }
end
