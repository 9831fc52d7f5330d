-- Combinators: functions built on alc.llm. They call alc.llm, alc.llm_batch and alc.log through the table `alc`, so a
-- strategy or a test that replaces one of them replaces it here too.

local shared = ...
local format, match, sub = string.format, string.match, string.sub
local create, remove = table.create, table.remove
local error, next, pcall, type = error, next, pcall, type
local alc, complain, defaults, texts = shared.alc, shared.complain, shared.defaults, shared.texts
local text, options_of, length = shared.text, shared.options_of, shared.length

local function array_of(items, name)
  shared.raise_refused(items)
  if type(items) ~= "table" then
    complain("argument", name, "the items", "an array", type(items))
  end
  return length(items)
end

local function function_of(fn, name)
  if type(fn) ~= "function" then
    complain("argument", name, "fn", "a function", type(fn))
  end
  return fn
end

local function copied(options, more)
  local copy = {}
  for key, value in next, options do
    copy[key] = value
  end
  for key, value in next, more do
    copy[key] = value
  end
  return copy
end

-- Raises the error of memory again: a strategy cannot work around it, so no function may handle it.
local function assert_memory(problem)
  if problem == shared.exhausted then
    error(problem, 0)
  end
end

shared.assert_memory, shared.copied = assert_memory, copied

-- Arrays -------------------------------------------------------------------------------------------------------

function alc.map(items, fn)
  local count = array_of(items, "alc.map")
  function_of(fn, "alc.map")
  local results = create(count)
  for i = 1, count do
    results[i] = fn(items[i], i)
  end
  return results
end

function alc.filter(items, fn)
  local count = array_of(items, "alc.filter")
  function_of(fn, "alc.filter")
  local results, n = {}, 0
  for i = 1, count do
    if fn(items[i], i) then
      n = n + 1
      results[n] = items[i]
    end
  end
  return results
end

function alc.reduce(items, fn, init)
  local count = array_of(items, "alc.reduce")
  function_of(fn, "alc.reduce")
  local first, result = 1, init
  if init == nil then
    first, result = 2, items[1]
  end
  for i = first, count do
    result = fn(result, items[i], i)
  end
  return result
end

-- Compares answers as text without surrounding white space. Of equal counts, the answer that came first wins.
function alc.vote(answers)
  local total = array_of(answers, "alc.vote")
  local counts, order = {}, {}
  for i = 1, total do
    local answer = match(text(answers[i]), "^%s*(.-)%s*$")
    if not counts[answer] then
      counts[answer] = 0
      order[#order + 1] = answer
    end
    counts[answer] = counts[answer] + 1
  end
  local winner, highest = nil, 0
  for i = 1, #order do
    if counts[order[i]] > highest then
      winner, highest = order[i], counts[order[i]]
    end
  end
  return { winner = winner, count = highest, total = total }
end

local function batch_item(item, index, prompt_fn, options)
  local prompt = prompt_fn(item, index)
  if type(prompt) == "string" then
    return copied(options, { prompt = prompt })
  elseif type(prompt) ~= "table" then
    complain("parallel.type", type(prompt), index)
  elseif type(prompt.prompt) ~= "string" then
    complain("parallel.prompt", index)
  end
  return prompt
end

-- One batch of prompts; or chains, where the items are functions without a prompt_fn, or with the option `chain`.
function alc.parallel(items, prompt_fn, options)
  local count = type(items) == "table" and length(items) or 0
  local is_plain = type(prompt_fn) ~= "function"
  if count == 0 then
    complain("parallel.items")
  elseif is_plain and type(items[1]) == "function" then
    return shared.run_chains(items, nil, options_of(prompt_fn == nil and options or prompt_fn, "alc.parallel"))
  elseif is_plain then
    complain("parallel.function")
  end
  options = copied(options_of(options, "alc.parallel"), {})
  if options.chain == true then
    return shared.run_chains(items, prompt_fn, options)
  end
  local post_fn = options.post_fn
  options.post_fn = nil
  local batch, asked = create(count), shared.asked
  for i = 1, count do
    batch[i] = batch_item(items[i], i, prompt_fn, options)
  end
  if shared.asked > asked then
    shared.warn(texts["parallel.asks"])
  end
  local responses = alc.llm_batch(batch)
  if not post_fn then
    return responses
  end
  local results = create(count)
  for i = 1, count do
    results[i] = post_fn(responses[i], items[i], i)
  end
  return results
end

-- alc.llm in other forms ---------------------------------------------------------------------------------------

function alc.ground(claim, options)
  return alc.llm(claim, copied(options_of(options, "alc.ground"), { grounded = true }))
end

function alc.specify(prompt, options)
  return alc.llm(prompt, copied(options_of(options, "alc.specify"), { underspecified = true }))
end

function alc.llm_safe(prompt, options, default)
  local ok, answer = pcall(alc.llm, prompt, options)
  if ok then
    return answer
  end
  assert_memory(answer)
  alc.log("warn", format(texts["llm_safe.failed"], shared.describe(answer)))
  return default
end

local SHOWN = 200 -- characters of an answer in a log line

local function clipped(value)
  return sub(text(value), 1, SHOWN)
end

-- Returns the value or nil, and where the answer does not fit the schema, or nil.
local function parsed(raw, attempt, schema)
  local value = alc.json_extract(raw)
  local mismatch = value ~= nil and schema and shared.library("schema_mismatch", raw, schema) or nil
  if value == nil then
    alc.log("warn", format(texts["llm_json.bad"], attempt, clipped(raw)))
  elseif mismatch then
    alc.log("warn", format(texts["llm_json.mismatch"], attempt, clipped(mismatch)))
    value = nil
  end
  return value, mismatch
end

local READERS = { integer = "parse_number", number = "parse_number", boolean = "match_bool" }

local function schema_of(options)
  local schema = type(options) == "table" and type(options.schema) == "table" and options.schema or nil
  local reader = schema and (READERS[schema.type] or not schema.type and schema.enum and "match_enum")
  if reader then
    complain("llm_json.schema", reader)
  end
  return schema
end

-- Returns the value or nil, the last answer, and where that does not fit the schema. Where the first answer has no JSON,
-- or JSON of another form, a second prompt asks for it again.
function alc.llm_json(prompt, options)
  local schema = schema_of(options)
  local raw = alc.llm(prompt, options)
  local value, mismatch = parsed(raw, 1, schema)
  if value == nil then
    local repair = mismatch and format(texts["llm_json.again"], mismatch, text(raw), text(prompt))
      or format(texts["llm_json.repair"], text(raw), text(prompt))
    raw = alc.llm(repair, copied(options_of(options, "alc.llm_json"), { system = defaults.json_system }))
    value, mismatch = parsed(raw, 2, schema)
  end
  return value, raw, mismatch
end

-- The cache is not recorded: a replay fills it again as the first run did. The key is the whole query.
local cached, order, hits, misses = {}, {}, 0, 0

function alc.cache(prompt, options)
  options = copied(options_of(options, "alc.cache"), {})
  local key, is_skipped = options.cache_key, options.cache_skip
  options.cache_key, options.cache_skip = nil, nil
  if is_skipped then
    return alc.llm(prompt, options)
  end
  key = key ~= nil and "=" .. text(key) or shared.query(shared.checked(prompt, "alc.cache"), options)
  if cached[key] then
    hits = hits + 1
    return cached[key]
  end
  misses = misses + 1
  local answer = alc.llm(prompt, options)
  if cached[key] == nil then -- a coroutine may have sent the same query meanwhile
    order[#order + 1] = key
  end
  cached[key] = answer
  if #order > defaults.cache_entries then
    cached[remove(order, 1)] = nil
  end
  return answer
end

function alc.cache_info()
  return { entries = #order, hits = hits, misses = misses, max_entries = defaults.cache_entries }
end

function alc.cache_clear()
  cached, order, hits, misses = {}, {}, 0, 0
end
