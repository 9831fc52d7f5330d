-- alc.pipe, which runs strategies one after the other, and alc.tuning, the parameters of a strategy.

local shared = ...
local format, next, pcall, type = string.format, next, pcall, type
local alc, complain, texts, null = shared.alc, shared.complain, shared.texts, shared.null
local text, options_of, length = shared.text, shared.options_of, shared.length
local assert_memory, copied, with_inputs = shared.assert_memory, shared.copied, shared.with_inputs

local function stage_of(strategies, i)
  local entry = strategies[i]
  if type(entry) == "function" then
    return "(inline-" .. i .. ")", entry
  elseif type(entry) ~= "string" then
    complain("pipe.type", i)
  end
  local ok, package = pcall(shared.public.require, entry)
  if not ok then
    assert_memory(package)
    complain("pipe.load", entry, text(package))
  elseif type(package) ~= "table" or type(package.run) ~= "function" then
    complain("pipe.run", entry)
  end
  return entry, function(ctx)
    return package.run(with_inputs(entry, package.meta, ctx, true))
  end
end

local MODES = { abort = true, skip = true, continue = true }

local function run_stage(name, run, ctx, is_tolerant)
  if not is_tolerant then
    return run(ctx)
  end
  local ok, result = pcall(run, ctx)
  if ok then
    return result
  end
  assert_memory(result)
  result = shared.describe(result)
  alc.log("warn", format(texts["pipe.failed"], name, result))
  return nil, result
end

local function task_of(result)
  return type(result) == "table" and alc.json_encode(result) or text(result)
end

-- Runs strategies one after the other on a copy of ctx; the result of each is the task of the next.
function alc.pipe(strategies, ctx, options)
  local count = type(strategies) == "table" and length(strategies) or 0
  if count == 0 then
    complain("pipe.strategies")
  elseif type(ctx) ~= "table" then
    complain("pipe.ctx")
  end
  options = options_of(options, "alc.pipe")
  local mode = options.on_error == nil and "abort" or options.on_error
  if not MODES[mode] then
    complain("pipe.mode", text(mode))
  end
  local history = {}
  ctx = copied(ctx, { pipe_history = history })
  for i = 1, count do
    local name, run = stage_of(strategies, i)
    local result, problem = run_stage(name, run, ctx, mode ~= "abort")
    history[#history + 1] = { strategy = name, error = problem }
    if not problem then
      if type(result) ~= "table" then
        complain("pipe.result", name)
      end
      ctx = result
      ctx.pipe_history = history -- also where a stage returns another table
      history[#history].result = ctx.result
      if ctx.result ~= nil and i < count then
        ctx.task = task_of(ctx.result)
      end
      if options.on_stage then
        options.on_stage(i, name, ctx)
      end
    end
  end
  return ctx
end

-- tuning -------------------------------------------------------------------------------------------------------

local function tuned(values, source)
  local result = {}
  for key, default in next, values do
    local value = source[key]
    if value == nil or value == null then
      result[key] = default
    elseif type(default) == "table" and type(value) == "table" and default[1] == nil then
      result[key] = tuned(default, value)
    else
      result[key] = value
    end
  end
  result._schema = nil -- it describes the parameters and is not a parameter
  return result
end

-- A package's defaults, overridden by the same keys of ctx or of ctx[prefix].
function alc.tuning(values, ctx, options)
  if type(values) ~= "table" then
    return values
  end
  local source = type(ctx) == "table" and ctx or {}
  local prefix = options_of(options, "alc.tuning").prefix
  local own
  if prefix ~= nil then
    own = source[prefix]
  end
  if type(own) == "table" then
    source = own
  elseif own ~= nil then
    alc.log("warn", format(texts["tuning.prefix"], text(prefix), type(own)))
    source = {}
  end
  return tuned(values, source)
end
