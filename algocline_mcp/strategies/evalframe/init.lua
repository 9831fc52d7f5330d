-- evalframe: what alc.eval needs to run a strategy on the cases of a scenario: cases, graders, a report.
--
-- Built in, with the names that scenarios written for the package evalframe use; an installed evalframe comes first.
-- A scenario is {cases = {{input, expected, name?}}, graders = {"exact_match"}}, or has bindings in its array part:
-- bind({grader, scorer?}). Graders: exact_match, contains, starts_with, regex (a Lua pattern), number, json_valid,
-- not_empty, flexible_match, or a function (response, case) -> boolean or number from 0 to 1.

local CASE, BINDING, GRADER = {}, {}, {}

local function tagged(tag)
  return function(value)
    return type(value) == "table" and rawget(value, "_tag") == tag
  end
end

local function callable(functions, call)
  return setmetatable(functions, {
    __call = function(_, ...)
      return call(...)
    end,
  })
end

-- Several right answers are a list; evalframe makes a list of one, too, and graders of users expect it.
local function case_of(spec)
  if type(spec) == "string" then
    return function(fields)
      local named = { name = spec }
      for key, value in pairs(fields) do
        named[key] = value
      end
      return case_of(named)
    end
  end
  local expected = spec.expected
  if expected ~= nil and type(expected) ~= "table" then
    expected = { tostring(expected) }
  end
  local case = { _tag = CASE, name = spec.name or "", input = spec.input, expected = expected }
  case.context, case.tags = spec.context or {}, spec.tags or {}
  return case
end

local function grader_of(name)
  return function(spec)
    return { _tag = GRADER, name = name, check = spec.check }
  end
end

local function any_expected(fits)
  return function(response, case)
    for _, expected in ipairs(case.expected or {}) do
      if fits(response.text, tostring(expected)) then
        return true
      end
    end
    return false
  end
end

local function trimmed(value)
  return value:match("^%s*(.-)%s*$")
end

local checks = {
  exact_match = any_expected(function(answer, expected)
    return trimmed(answer) == trimmed(expected)
  end),
  contains = any_expected(function(answer, expected)
    return answer:find(expected, 1, true) ~= nil
  end),
  starts_with = any_expected(function(answer, expected)
    return answer:find(expected, 1, true) == 1
  end),
  regex = any_expected(function(answer, expected)
    return answer:find(expected) ~= nil
  end),
  number = any_expected(function(answer, expected)
    local number = alc.parse_number(answer)
    return number ~= nil and number == alc.parse_number(expected)
  end),
  json_valid = function(response)
    return (pcall(alc.json_decode, response.text))
  end,
  not_empty = function(response)
    return trimmed(response.text) ~= ""
  end,
}
checks.flexible_match = checks.contains

local graders = {}
for name, check in pairs(checks) do
  graders[name] = { _tag = GRADER, name = name, check = check }
end

-- Of a grader, a scorer (a table with `score`) or a function, in any order.
local function bind(spec)
  local binding = { _tag = BINDING, weight = spec.weight or 1 }
  for _, part in ipairs(spec) do
    if type(part) == "function" then
      binding.grader = { _tag = GRADER, name = "function", check = part }
    elseif tagged(GRADER)(part) then
      binding.grader = part
    else
      binding.scorer = part
    end
  end
  if binding.grader == nil then
    error("evalframe.bind: a binding needs a grader", 2)
  end
  return binding
end

local function output_of(result)
  if type(result) == "table" and result.result ~= nil then
    result = result.result
  end
  if type(result) == "table" then
    for _, key in ipairs({ "answer", "summary", "output", "text" }) do
      if type(result[key]) == "string" then
        return result[key]
      end
    end
    return alc.json_encode(result)
  end
  return tostring(result)
end

local function provider_of(options)
  return function(input)
    local ctx = { task = input }
    for key, value in pairs(options.opts or {}) do
      ctx[key] = value
    end
    local ok, result = pcall(function()
      return require(options.strategy).run(ctx)
    end)
    if not ok then
      return { text = "", error = tostring(result) }
    end
    return { text = output_of(result), raw = result }
  end
end

local function score_of(binding, response, case)
  local ok, value = pcall(binding.grader.check, response, case)
  if not ok then
    return 0, tostring(value)
  end
  if binding.scorer and type(binding.scorer.score) == "function" then
    return binding.scorer.score(value)
  end
  return type(value) == "number" and value or value and 1 or 0
end

local function run_case(suite, case)
  local response = suite.provider(case.input)
  if type(response) ~= "table" then
    response = { text = tostring(response) }
  end
  local result = { name = case.name, input = case.input, expected = case.expected, output = response.text, grades = {} }
  local sum, weights, passed = 0, 0, response.error == nil
  for i, binding in ipairs(suite) do
    local score, problem = 0, response.error
    if not problem then
      score, problem = score_of(binding, response, case)
    end
    result.grades[i] = { grader = binding.grader.name, score = score, error = problem }
    sum, weights, passed = sum + score * binding.weight, weights + binding.weight, passed and score >= 0.5
  end
  result.score, result.passed, result.error = weights > 0 and sum / weights or 0, passed, response.error
  return result
end

local function described(scores)
  local sorted, sum, squares = {}, 0, 0
  for i, score in ipairs(scores) do
    sorted[i], sum = score, sum + score
  end
  local n = #sorted
  if n == 0 then
    return { n = 0, mean = 0, std_dev = 0, min = 0, max = 0, median = 0 }
  end
  table.sort(sorted)
  for _, score in ipairs(sorted) do
    squares = squares + (score - sum / n) ^ 2
  end
  local middle = (n + 1) // 2
  local median = n % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2
  local deviation = n > 1 and (squares / (n - 1)) ^ 0.5 or 0
  return { n = n, mean = sum / n, std_dev = deviation, min = sorted[1], max = sorted[n], median = median }
end

local function report_of(name, results)
  local scores, failures, passed = {}, {}, 0
  for i, result in ipairs(results) do
    scores[i] = result.score
    if result.passed then
      passed = passed + 1
    else
      failures[#failures + 1] = result
    end
  end
  local total = #results
  local rate = total > 0 and passed / total or 0
  local sums = { total = total, passed = passed, pass_rate = rate, pass_at_1 = rate, scores = described(scores) }
  local summary = string.format("%s: %d of %d cases passed, mean score %.3f", name, passed, total, sums.scores.mean)
  return { name = name, aggregated = sums, results = results, failures = failures, summary = summary }
end

local function suite(name)
  return function(spec)
    local function run()
      local results = {}
      for i, case in ipairs(spec.cases) do
        results[i] = run_case(spec, case)
        alc.progress(i, #spec.cases, "alc.eval")
      end
      local report = report_of(name, results)
      return {
        to_table = function()
          return report
        end,
      }
    end
    return { run = run }
  end
end

return {
  meta = {
    name = "evalframe",
    version = "1.0.0",
    category = "built in",
    type = "library",
    description = "What alc.eval needs to run a strategy on the cases of a scenario: cases, graders, a report",
  },
  case = callable({ is_case = tagged(CASE) }, case_of),
  bind = callable({ is_binding = tagged(BINDING) }, bind),
  grader = callable({ is_grader = tagged(GRADER) }, grader_of),
  graders = graders,
  providers = { algocline = provider_of },
  suite = suite,
}
