-- `lust`, the test library of package specs, as the global `lust` and under require("lust"). It has the functions that
-- specs use of upstream's copy of lust: describe, it, pending, before, after, spy, and expect(value).to / .to_not with
-- equal, be, be.a, be.truthy, be.falsy, be.gt, be.gte, be.lt, be.lte, exist, have, have_key, have_length, match, fail;
-- and lust.model, our own.
--
-- `lust.run` runs one file and returns { passed, pending, failed, failures = { { name, error }, … }, problem? }.
-- `failed` is a count, `failures` has the first MAX_FAILURES; `problem`: an error of the file outside of its cases.

local json_encode = alc.json_encode -- specs replace `alc`
local MAX_FAILURES, MAX_BYTES = 100, 2000 -- failures that are returned, and bytes of each text
local lust = {}
local path, befores, afters = {}, { {} }, { {} }
local passed, pending, failed, failures = 0, 0, 0, {}

local function text(value)
  local ok, json = pcall(json_encode, value)
  return ok and json or tostring(value)
end

local function clipped(value)
  local full = tostring(value)
  return #full > MAX_BYTES and full:sub(1, MAX_BYTES) .. "…" or full
end

-- ── expect ────────────────────────────────────────────────────────────────────────────────────────────────

local function equal(a, b, epsilon)
  if type(a) == "number" and type(b) == "number" and epsilon then
    return math.abs(a - b) <= epsilon
  end
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not equal(value, b[key], epsilon) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

local CHECKS = {
  equal = equal,
  exist = function(value) return value ~= nil end,
  truthy = function(value) return not not value end,
  falsy = function(value) return not value end,
  gt = function(value, other) return value > other end,
  gte = function(value, other) return value >= other end,
  lt = function(value, other) return value < other end,
  lte = function(value, other) return value <= other end,
  a = function(value, kind)
    if type(kind) == "table" then
      return getmetatable(value) == kind
    end
    return type(value) == kind
  end,
  have = function(value, item)
    for _, element in pairs(value) do
      if equal(element, item) then
        return true
      end
    end
    return false
  end,
  have_key = function(value, key) return value[key] ~= nil end,
  have_length = function(value, length) return #value == length end,
  match = function(value, pattern) return tostring(value):match(pattern) ~= nil end,
  fail = function(value) return not pcall(value) end,
}
CHECKS.an = CHECKS.a

local function chain(value, wanted)
  local function complain(name, ...)
    local other = select("#", ...) > 0 and " " .. text((...)) or ""
    error(("expected %s %sto %s%s"):format(text(value), wanted and "" or "not ", name, other), 3)
  end
  local function assertion(_, name)
    local check = CHECKS[name]
    if not check then
      error(("lust has no assertion '%s'"):format(tostring(name)), 2)
    end
    return function(...)
      if not not check(value, ...) ~= wanted then
        complain(name, ...)
      end
    end
  end
  local be = setmetatable({}, {
    __index = assertion,
    __call = function(_, other)
      if (value == other) ~= wanted then
        complain("be", other)
      end
    end,
  })
  return setmetatable({ be = be }, { __index = assertion })
end

function lust.expect(value)
  return { to = chain(value, true), to_not = chain(value, false) }
end

-- ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────

function lust.describe(name, body)
  path[#path + 1], befores[#befores + 1], afters[#afters + 1] = name, {}, {}
  body()
  path[#path], befores[#befores], afters[#afters] = nil, nil, nil
end

function lust.before(fn)
  table.insert(befores[#befores], fn)
end

function lust.after(fn)
  table.insert(afters[#afters], fn)
end

local function call_each(lists, name)
  for _, list in ipairs(lists) do
    for _, fn in ipairs(list) do
      fn(name)
    end
  end
end

-- A model that answers the prompts of one case: see lust_model.lua.
local real

function lust.model(model)
  real = real or alc
  return require("lust_model")(model or {})
end

function lust.it(name, body)
  if body == nil then
    pending = pending + 1
    return
  end
  local ok, problem = pcall(function()
    call_each(befores, name)
    body()
  end)
  local is_clean, after_problem = pcall(call_each, afters, name)
  if real then
    _G.alc, real = real, nil
  end
  if ok and is_clean then
    passed = passed + 1
    return
  end
  failed = failed + 1
  if #failures < MAX_FAILURES then
    local full = #path > 0 and table.concat(path, " ") .. " " .. tostring(name) or name
    failures[#failures + 1] = { name = clipped(full), error = clipped(ok and after_problem or problem) }
  end
end

function lust.pending(name)
  lust.it(name)
end

-- spy(table, key, run?) replaces a function in a table, spy(fn, run?) wraps a function. Both record the arguments of
-- each call and call the function.
function lust.spy(subject, key, run)
  local spy, original = {}, subject
  if type(subject) == "table" then
    original, subject[key] = subject[key], spy
  else
    run = key
  end
  setmetatable(spy, {
    __call = function(_, ...)
      spy[#spy + 1] = { ... }
      if original then
        return original(...)
      end
    end,
  })
  if run then
    run()
  end
  return spy
end

-- ── a file ────────────────────────────────────────────────────────────────────────────────────────────────

function lust.run(file)
  _G.lust, _G.ctx = lust, nil
  local spec, problem = load(file.source, "@" .. file.chunk)
  local ok = false
  if spec then
    ok, problem = pcall(spec)
  end
  return {
    passed = passed,
    pending = pending,
    failed = failed,
    failures = failures,
    problem = not ok and clipped(problem) or nil,
  }
end

return lust
