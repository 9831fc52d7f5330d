-- alc.math, part 1: the table, and the checks of arguments.

local shared = ...
local alc, complain = shared.alc, shared.complain
local gmatch, math_type, rawlen, tointeger, type = string.gmatch, math.type, rawlen, math.tointeger, type

local functions = {}
alc.math = functions

local function refuse(name, what, wanted, value)
  complain("argument", "alc.math." .. name, what, wanted, type(value) == "number" and shared.text(value) or type(value))
end

local function number(value, name, what)
  if type(value) ~= "number" then
    refuse(name, what, "a number", value)
  end
  return value
end

local function whole(value, name, what)
  local integer = math_type(value) and tointeger(value)
  if not integer then
    refuse(name, what, "a whole number", value)
  end
  return integer
end

local KINDS = { n = number, i = whole }

KINDS["+"] = function(value, name, what)
  if type(value) ~= "number" or not (value > 0) then
    refuse(name, what, "a number above 0", value)
  end
  return value
end

-- Above 0 and finite: with an infinite one a loop that draws until a number fits would never end.
KINDS["f"] = function(value, name, what)
  if type(value) ~= "number" or not (value > 0 and value < 1 / 0) then
    refuse(name, what, "a finite number above 0", value)
  end
  return value
end

function KINDS.u(value, name, what) -- unsigned
  local integer = whole(value, name, what)
  if integer < 0 then
    refuse(name, what, "at least 0", value)
  end
  return integer
end

function KINDS.p(value, name, what) -- a probability
  if type(value) ~= "number" or not (value >= 0 and value <= 1) then
    refuse(name, what, "a number from 0 to 1", value)
  end
  return value
end

function KINDS.a(value, name, what) -- a non-empty array of numbers
  if type(value) ~= "table" or rawlen(value) == 0 then
    refuse(name, what, "a non-empty array of numbers", value)
  end
  for i = 1, #value do
    if type(value[i]) ~= "number" then
      refuse(name, what .. "[" .. i .. "]", "a number", value[i])
    end
  end
  return value
end

function KINDS.r(value, name, what)
  if type(value) ~= "table" or math_type(value[1]) ~= "integer" then
    refuse(name, what, "a generator from alc.math.rng_create", value)
  end
  return value
end

function KINDS.t(value, name, what)
  if type(value) ~= "table" then
    refuse(name, what, "an array", value)
  end
  return value
end

function KINDS.any(value)
  return value
end

-- Adds alc.math[name]: checks the arguments, then calls fn. `arguments` lists their names and kinds: "x:n sigma:+".
local function define(name, arguments, fn)
  local kinds, whats = {}, {}
  for what, kind in gmatch(arguments, "(%w+):(%S+)") do
    kinds[#kinds + 1], whats[#whats + 1] = KINDS[kind], what
  end
  local first, second, third = kinds[1], kinds[2], kinds[3]
  functions[name] = function(a, b, c)
    if first then
      a = first(a, name, whats[1])
    end
    if second then
      b = second(b, name, whats[2])
    end
    if third then
      c = third(c, name, whats[3])
    end
    return fn(a, b, c)
  end
  return fn
end
shared.define, shared.refuse_number, shared.kinds = define, refuse, KINDS
