-- The test library that specs of packages are written for, as the global `lust` and under require("lust"): what they use
-- of `lust`, of which the Rust program has a copy: describe, it, pending, before, after, spy, and expect(value).to /
-- .to_not with equal, be, be.a, be.truthy, be.falsy, be.gt, be.gte, be.lt, be.lte, exist, have, have_key, have_length,
-- match, fail.
--
-- `lust.run` carries one file out: { passed, pending, failed, failures = { { name, error }, … }, problem? }. `failed`
-- counts, `failures` holds the first of them; `problem`: the file itself did not come to its end.

local json_encode = alc.json_encode -- specs replace `alc`
local MOST, MOST_BYTES = 100, 2000 -- failures that are told, and of each
local lust = {}
local path, befores, afters = {}, { {} }, { {} }
local passed, pending, failed, failures = 0, 0, 0, {}

local function text(value)
  local ok, json = pcall(json_encode, value)
  return ok and json or tostring(value)
end

local function clipped(value)
  local said = tostring(value)
  return #said > MOST_BYTES and said:sub(1, MOST_BYTES) .. "…" or said
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
    for _, each in pairs(value) do
      if equal(each, item) then
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

function lust.it(name, body)
  if body == nil then
    pending = pending + 1
    return
  end
  local ok, problem = pcall(function()
    call_each(befores, name)
    body()
  end)
  local is_left, trouble = pcall(call_each, afters, name)
  if ok and is_left then
    passed = passed + 1
    return
  end
  failed = failed + 1
  if #failures < MOST then
    local full = #path > 0 and table.concat(path, " ") .. " " .. tostring(name) or name
    failures[#failures + 1] = { name = clipped(full), error = clipped(ok and trouble or problem) }
  end
end

function lust.pending(name)
  lust.it(name)
end

-- spy(table, key, run?) takes the place of a function, spy(fn, run?) is one more: each call is kept, and goes through.
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

function lust.run(given)
  _G.lust, _G.ctx = lust, nil
  local spec, why = load(given.source, "@" .. given.chunk)
  local ok = false
  if spec then
    ok, why = pcall(spec)
  end
  return {
    passed = passed,
    pending = pending,
    failed = failed,
    failures = failures,
    problem = not ok and clipped(why) or nil,
  }
end

return lust
