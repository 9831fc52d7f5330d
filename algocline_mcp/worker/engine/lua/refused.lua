-- Refused items of alc.llm_batch. Such an item has an error value in the place of its answer, so that one refusal does
-- not throw away the other answers. Whatever uses the value as a text, number or table raises the refusal, with the
-- strategy's line; alc.refused(value) returns its reason instead, and from then on the value may stand in a result, as
-- {"refused": reason}. A comparison with == runs no code of ours. Therefore a strategy that ends without having looked at
-- a refused item ends in the error.

local shared = ...
local format, type = string.format, type
local getmetatable, ipairs, setmetatable = debug.getmetatable, ipairs, setmetatable
local quote = shared.quote

local REFUSED = shared.REFUSED -- the metatable of these values
local refusals = setmetatable({}, { __mode = "k" }) -- value -> refusal {reason, item, where, is_seen}
local given = {} -- refusals that nobody has looked at yet, in order

local function sentence(refusal)
  return format(shared.texts["batch.refused"], refusal.item, refusal.reason)
end

-- The error value of item `item` of a batch.
function shared.refused(item, reason)
  local value = setmetatable({}, REFUSED)
  local refusal = { reason = reason, item = item, where = shared.where(), is_seen = false }
  refusals[value] = refusal
  given[#given + 1] = refusal
  return value
end

local function look_at(value)
  local refusal = refusals[value]
  refusal.is_seen = true
  return refusal
end

-- Raises the refusal where `value` is a refused item.
function shared.raise_refused(value)
  if getmetatable(value) == REFUSED then
    shared.fail(sentence(look_at(value)))
  end
end

local function raise(a, b)
  shared.raise_refused(a)
  shared.raise_refused(b)
end

for _, event in ipairs({
  "add", "sub", "mul", "div", "mod", "pow", "unm", "idiv", "band", "bor", "bxor", "shl", "shr", "bnot",
  "concat", "len", "lt", "le", "call", "tostring", "pairs", "index", "newindex",
}) do
  REFUSED["__" .. event] = raise
end
REFUSED.__name, REFUSED.__metatable = "refused answer", "refused answer"

-- The JSON of a refused item; as its second result what is wrong, where nobody has looked at it.
function shared.encode_refused(value)
  local refusal = refusals[value]
  if refusal.is_seen then
    return '{"refused":' .. quote(refusal.reason) .. "}"
  end
  refusal.is_seen = true
  return nil, sentence(refusal)
end

-- The reason for which the host refused this item of alc.llm_batch; nil for an answer.
function shared.alc.refused(value)
  return getmetatable(value) == REFUSED and look_at(value).reason or nil
end

-- Raises the first refusal that the strategy has not looked at.
function shared.assert_refusals_seen()
  for _, refusal in ipairs(given) do
    if not refusal.is_seen then
      error(refusal.where .. sentence(refusal), 0)
    end
  end
end
