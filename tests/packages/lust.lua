-- As much of the test library `lust` as the published packages use in their own specs: describe, it, before, after,
-- expect(value).to / .to_not with equal, exist, be, be.a, be.truthy, be.falsy, have, match, fail.

local json_encode = alc.json_encode -- specs replace `alc`
local lust = { passed = 0, failed = {} }
local path, befores, afters = {}, {}, {}

local function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not equal(value, b[key]) then
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

local function text(value)
  local ok, json = pcall(json_encode, value)
  return ok and json or tostring(value)
end

local CHECKS = {
  equal = equal,
  be = rawequal,
  exist = function(value) return value ~= nil end,
  truthy = function(value) return not not value end,
  falsy = function(value) return not value end,
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
  match = function(value, pattern) return tostring(value):match(pattern) ~= nil end,
  fail = function(value) return not pcall(value) end,
}
CHECKS.an = CHECKS.a

local function chain(value, wanted)
  local function assertion(_, name)
    return function(...)
      if CHECKS[name](value, ...) ~= wanted then
        error(("expected %s %s%s %s"):format(text(value), wanted and "" or "not ", name, text((...))), 2)
      end
    end
  end
  local be = setmetatable({}, {
    __index = assertion,
    __call = function(_, other)
      if (value == other) ~= wanted then
        error(("expected %s %sto be %s"):format(text(value), wanted and "" or "not ", text(other)), 2)
      end
    end,
  })
  return setmetatable({ be = be }, { __index = assertion })
end

function lust.expect(value)
  return { to = chain(value, true), to_not = chain(value, false) }
end

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

local function each(lists, name)
  for _, list in ipairs(lists) do
    for _, fn in ipairs(list) do
      fn(name)
    end
  end
end

function lust.it(name, body)
  each(befores, name)
  local ok, problem = pcall(body)
  each(afters, name)
  if ok then
    lust.passed = lust.passed + 1
  else
    table.insert(lust.failed, table.concat(path, " ") .. " " .. name .. ": " .. tostring(problem))
  end
end

befores[1], afters[1] = {}, {}
return lust
