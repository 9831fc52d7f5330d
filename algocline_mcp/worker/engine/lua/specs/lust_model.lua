-- A model for specs in Lua: lust.model({ answers = { ["a part of a prompt"] = "answer" }, default = "answer" }) answers what
-- the functions of `alc` ask, until the end of the case. An answer may be a list, one after the other. Returns the model,
-- whose `prompts` were asked. `model.replay(run, ctx, turns)` plays a recorded session: `turns` are { prompt, response } or
-- { prompt, refuse } in the order of asking, and another prompt is an error.

local real = alc

-- The longest part that a prompt contains counts, so that the order of a table does not matter.
local function answer_of(model, prompt)
  local part
  for candidate in pairs(model.answers or {}) do
    if prompt:find(candidate, 1, true) and (not part or #candidate > #part) then
      part = candidate
    end
  end
  local answer = part and model.answers[part] or model.default
  if type(answer) == "table" then
    answer = table.remove(answer, 1)
  end
  return answer or error("no answer to the prompt: " .. prompt:sub(1, 200), 0)
end

-- The turn of a prompt: the next one, or in chains, whose answers came in any order, the next one with this prompt.
local function turn_of(model, prompt)
  local next_turn
  for i, turn in ipairs(model.turns) do
    if not model.used[i] and (turn.prompt == prompt or not model.in_chains) then
      model.used[i] = true
      return turn
    end
    next_turn = next_turn or not model.used[i] and turn or nil
  end
  return next_turn
end

local function recorded(model, prompt)
  local turn = turn_of(model, prompt)
  if not turn then
    error(("prompt %d was not asked in the recorded session: %s"):format(#model.prompts, prompt:sub(1, 200)), 0)
  elseif turn.prompt ~= prompt then
    local text = "prompt %d differs from the recorded one\n    expected %s\n    but was  %s"
    error(text:format(#model.prompts, real.json_encode(turn.prompt), real.json_encode(prompt)), 0)
  elseif turn.refuse then
    error("refused: " .. turn.refuse, 0)
  end
  return turn.response
end

return function(model)
  model.prompts = {}
  local own = {}

  function own.llm(prompt)
    prompt = tostring(prompt)
    model.prompts[#model.prompts + 1] = prompt
    return (model.turns and recorded or answer_of)(model, prompt)
  end
  own.ground, own.specify, own.cache = own.llm, own.llm, own.llm

  function own.llm_batch(items)
    return real.map(items, function(item) return own.llm(item.prompt) end)
  end

  function own.parallel(items, prompt_fn, options)
    if type(prompt_fn) ~= "function" or options and options.chain then
      local before <close> = setmetatable({ model.in_chains }, { __close = function(was) model.in_chains = was[1] end })
      model.in_chains = true
      return (real.parallel(items, prompt_fn, options))
    end
    return real.map(items, function(item, i)
      local query = prompt_fn(item, i)
      local answer = own.llm(type(query) == "table" and query.prompt or query)
      return options and options.post_fn and options.post_fn(answer, item, i) or answer
    end)
  end

  function own.llm_safe(prompt, _, default)
    local ok, answer = pcall(own.llm, prompt)
    return ok and answer or default
  end

  function own.llm_json(prompt)
    local answer = own.llm(prompt)
    return real.json_extract(answer), answer
  end

  function model.replay(run, ctx, turns)
    model.turns, model.used = turns, {}
    local result = run(ctx)
    if #model.prompts < #turns then
      error(("%d of the %d recorded prompts were not asked"):format(#turns - #model.prompts, #turns), 0)
    end
    return real.json_decode(real.json_encode(result))
  end

  _G.alc = setmetatable(own, { __index = real })
  return model
end
