-- alc.state, alc.budget_* and alc.stats.

local shared = ...
local ask, encode, decode, quote = shared.ask, shared.encode, shared.decode, shared.quote
local complain, unwrap_json = shared.complain, shared.unwrap_json
local null, text, math_type, pcall, type = shared.null, shared.text, math.type, pcall, type
local alc = shared.public.alc

-- alc.state ----------------------------------------------------------------------------------------------------

local TRIES = 100 -- of an update while other sessions change the same key

local state = {}

local function key_of(key, name)
  if type(key) == "number" then
    return quote(text(key))
  elseif type(key) ~= "string" then
    complain("state.key", name, type(key))
  end
  shared.assert_name(name, key)
  return quote(key)
end

local function json_of(value, name)
  return unwrap_json("alc." .. name, pcall(encode, value, "the value"))
end

local function send(name, arguments)
  return ask('{"args":[' .. arguments .. '],"name":"' .. name .. '","op":"call"}').result
end

-- The value, or the default where there is no value. The default is not sent, so it can be anything.
function state.get(key, default)
  local stored = send("state.get", key_of(key, "state.get"))
  if #stored == 0 then
    return default
  end
  return stored[1]
end

-- nil removes the key, as in a table; null is a value.
function state.set(key, value)
  if value == nil then
    send("state.delete", key_of(key, "state.set"))
  else
    send("state.set", key_of(key, "state.set") .. "," .. json_of(value, "state.set"))
  end
end

function state.keys()
  return send("state.keys", "")
end

function state.delete(key)
  return send("state.delete", key_of(key, "state.delete"))
end

function state.has(key)
  return send("state.has", key_of(key, "state.has"))
end

function state.set_nx(key, value)
  if value == nil then
    complain("state.missing")
  end
  return send("state.set_nx", key_of(key, "state.set_nx") .. "," .. json_of(value, "state.set_nx"))
end

local function number_of(value, otherwise, name)
  if value == nil then
    return otherwise
  elseif not math_type(value) or value - value ~= 0 then
    complain("state.number", name, text(value))
  end
  return encode(value)
end

-- The new value, always a float.
function state.incr(key, delta, default)
  local arguments = key_of(key, "state.incr") .. "," .. number_of(delta, "1", "delta")
  return send("state.incr", arguments .. "," .. number_of(default, "0", "default"))
end

-- Replaces the value by change(value). Calls `change` again where another session has changed the value meanwhile.
function state.update(key, change, default)
  local name = "state.update"
  local quoted = key_of(key, name)
  if type(change) ~= "function" then
    complain("state.function", type(change))
  end
  for _ = 1, TRIES do
    local stored = send("state.get", quoted)
    local before = encode(stored, "the value", 1) -- before the call: `change` may modify the table that it gets
    local value = default
    if #stored > 0 then
      value = stored[1]
    end
    local new = change(value)
    local after = new == nil and "[]" or "[" .. json_of(new, name) .. "]"
    if send("state.swap", quoted .. "," .. before .. "," .. after) then
      return new
    end
  end
  complain("state.changed", quoted, TRIES)
end

alc.state = state

-- Budget -------------------------------------------------------------------------------------------------------

-- {llm_calls, elapsed_ms, tokens}, each only where ctx.budget limits it; nil without a budget.
function alc.budget_remaining()
  local left = shared.call("budget")
  if left == null then
    return nil
  end
  for name, value in next, left do
    if value == null then
      left[name] = nil
    end
  end
  return left
end

function alc.budget_check()
  for _, value in next, alc.budget_remaining() or {} do
    if value <= 0 then
      return false
    end
  end
  return true
end

-- alc.stats ----------------------------------------------------------------------------------------------------

local CUSTOM_BYTES = 65536 -- of all statistics of a session

local stats = {}
local custom, custom_bytes = {}, 0 -- key -> JSON text: a recorded value cannot change afterwards

local function stat_of(key, name)
  if type(key) ~= "string" and not math_type(key) then
    complain("stats.key", name, type(key))
  end
  return text(key)
end

-- Replaces the value of a key; nil removes the key.
function stats.record(key, value)
  key = stat_of(key, "record")
  local json = value ~= nil and json_of(value, "stats.record") or nil
  local size = custom_bytes + (json and #json + #key or 0) - (custom[key] and #custom[key] + #key or 0)
  if size > CUSTOM_BYTES then
    complain("stats.bytes", size, CUSTOM_BYTES)
  end
  custom[key], custom_bytes = json, size
end

function stats.get(key)
  local json = custom[stat_of(key, "get")]
  return json and decode(json)
end

-- The number of prompts that the session has asked so far, in all its streams.
function stats.llm_calls()
  return shared.call("llm_calls")
end

alc.stats = stats

-- The statistics as a part of the last line, or "".
function shared.custom_stats()
  local keys = {}
  for key in next, custom do
    keys[#keys + 1] = key
  end
  if #keys == 0 then
    return ""
  end
  table.sort(keys)
  for i, key in ipairs(keys) do
    keys[i] = quote(key) .. ":" .. custom[key]
  end
  return ',"stats":{' .. table.concat(keys, ",") .. "}"
end
