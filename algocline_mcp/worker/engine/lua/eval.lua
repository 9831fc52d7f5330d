-- alc.eval: runs a strategy on the cases of a scenario with the package `evalframe`, and creates a card of the results.

local shared = ...
local alc, complain, null, text = shared.alc, shared.complain, shared.null, shared.text
local options_of, length, assert_memory, copied = shared.options_of, shared.length, shared.assert_memory, shared.copied
local find, ipairs, pcall, rawlen, type, unpack = string.find, ipairs, pcall, rawlen, type, table.unpack

local function required(name)
  local ok, result = pcall(shared.public.require, name)
  if not ok then
    assert_memory(result)
  end
  return ok, result
end

-- A module of that name, a module in a collection's folder `scenarios`, or a file in the home's scenarios.
local function scenario_named(name)
  for _, module in ipairs({ name, "scenarios." .. name }) do
    local ok, result = required(module)
    if ok then
      return result
    elseif not find(text(result), "module '" .. module .. "' not found", 1, true) then
      complain("eval.load", name, text(result))
    end
  end
  local ok, file = pcall(shared.call, "scenario", name)
  if not ok then
    assert_memory(file)
    complain("eval.scenario", name)
  end
  local loader, problem = shared.compile(file.source, file.chunk)
  if not loader then
    complain("eval.load", name, shared.explain_syntax(problem))
  end
  return (loader(name))
end

local function bindings_of(frame, scenario)
  for i = 1, rawlen(scenario) do
    if type(scenario[i]) == "table" and frame.bind.is_binding(scenario[i]) then
      return { unpack(scenario) }
    end
  end
  local bindings, graders = {}, scenario.graders or { "exact_match" }
  for i = 1, length(graders) do
    local grader = graders[i]
    if type(grader) == "string" then
      grader = frame.graders[grader]
      if not grader then
        complain("eval.grader", graders[i])
      end
    elseif type(grader) ~= "function" then
      complain("argument", "alc.eval", "a grader", "a name or a function", type(grader))
    end
    bindings[i] = frame.bind({ grader })
  end
  return bindings
end

local function cases_of(frame, scenario)
  local cases = scenario.cases or {}
  if type(cases) ~= "table" then
    complain("argument", "alc.eval", "cases", "an array", type(cases))
  end
  local results = {}
  for i = 1, length(cases) do
    local case = cases[i]
    local is_case = type(case) == "table" and frame.case.is_case(case)
    if not is_case and (type(case) ~= "table" or case.input == nil) then
      complain("eval.case", i)
    end
    results[i] = is_case and case or frame.case(case)
  end
  return results
end

local function card_of(report, pkg, scenario)
  local sums = report.aggregated or {}
  local stats = { pass_rate = sums.pass_rate, mean_score = (sums.scores or {}).mean, n = sums.total, passed = sums.passed }
  local card = alc.card.create({ pkg = { name = pkg }, scenario = { name = scenario }, stats = stats })
  if type(report.results) == "table" and length(report.results) > 0 then
    alc.card.write_samples(card.card_id, report.results)
  end
  return card.card_id
end

local function checked(scenario, strategy)
  if scenario == nil or scenario == null or scenario == false then
    complain("eval.missing")
  elseif type(scenario) ~= "string" and type(scenario) ~= "table" then
    complain("eval.type")
  elseif type(strategy) ~= "string" then
    complain("eval.strategy")
  end
end

function alc.eval(scenario, strategy, options)
  checked(scenario, strategy)
  options = options_of(options, "alc.eval")
  local ok, frame = required("evalframe")
  if not ok then
    complain("eval.evalframe")
  end
  local name = "inline"
  if type(scenario) == "string" then
    name, scenario = scenario, scenario_named(scenario)
    if type(scenario) ~= "table" then
      complain("eval.resolved", name, type(scenario))
    end
  elseif type(scenario.name) == "string" then
    name = scenario.name
  end
  local suite = copied(bindings_of(frame, scenario), {
    provider = frame.providers.algocline({ strategy = strategy, opts = options.strategy_opts }),
    cases = cases_of(frame, scenario),
  })
  local report = frame.suite(strategy .. ":" .. name)(suite):run():to_table()
  if options.auto_card then
    report.card_id = card_of(report, options.card_pkg or strategy, name)
    alc.log("info", "alc.eval: card " .. text(report.card_id))
  end
  return report
end
