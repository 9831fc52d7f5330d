-- What outlives a pause, and what limits a session: alc.state, alc.budget_*, alc.stats.

local room = ...
local ask, encode, decode, quote, fail, settled = room.ask, room.encode, room.decode, room.quote, room.fail, room.settled
local null, text, math_type, pcall, type = room.null, room.text, math.type, pcall, type
local alc = room.public.alc

-- alc.state ----------------------------------------------------------------------------------------------------

local TRIES = 100 -- of an update whose key others change meanwhile

local state = {}

local function key_of(key, name)
  if type(key) == "number" then
    return quote(text(key))
  elseif type(key) ~= "string" then
    fail("alc." .. name .. ": a key is a string and not a " .. type(key))
  end
  return quote(key)
end

local function json_of(value, name)
  return settled("alc." .. name, pcall(encode, value, "the value"))
end

local function send(name, arguments)
  return ask('{"args":[' .. arguments .. '],"name":"' .. name .. '","op":"call"}').result
end

-- The default where there is no value. It stays here, so it can be anything.
function state.get(key, default)
  local found = send("state.get", key_of(key, "state.get"))
  if #found == 0 then
    return default
  end
  return found[1]
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
    fail("alc.state.set_nx: the value is missing")
  end
  return send("state.set_nx", key_of(key, "state.set_nx") .. "," .. json_of(value, "state.set_nx"))
end

local function number_of(value, otherwise, name)
  if value == nil then
    return otherwise
  elseif not math_type(value) or value - value ~= 0 then
    fail("alc.state.incr: " .. name .. " must be a number and not " .. text(value))
  end
  return encode(value)
end

-- A float, whatever was there before.
function state.incr(key, delta, default)
  local arguments = key_of(key, "state.incr") .. "," .. number_of(delta, "1", "delta")
  return send("state.incr", arguments .. "," .. number_of(default, "0", "default"))
end

-- Sets what `change` makes of the value. Where another session changed it meanwhile, `change` is called again.
function state.update(key, change, default)
  local name = "state.update"
  local quoted = key_of(key, name)
  if type(change) ~= "function" then
    fail("alc.state.update: a function was expected and not a " .. type(change))
  end
  for _ = 1, TRIES do
    local found = send("state.get", quoted)
    local before = encode(found) -- now: `change` may change the table that it gets
    local value = default
    if #found > 0 then
      value = found[1]
    end
    local made = change(value)
    local after = made == nil and "[]" or "[" .. json_of(made, name) .. "]"
    if send("state.swap", quoted .. "," .. before .. "," .. after) then
      return made
    end
  end
  fail("alc.state.update: others changed " .. quoted .. " " .. TRIES .. " times meanwhile: try again")
end

alc.state = state

-- Budget -------------------------------------------------------------------------------------------------------

-- {llm_calls, elapsed_ms, tokens}, each only where ctx.budget limits it; nil without a budget.
function alc.budget_remaining()
  local left = room.call("budget")
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

local CUSTOM_BYTES = 65536 -- of all that a session records

local stats = {}
local custom, custom_bytes = {}, 0 -- key -> JSON text: what was recorded cannot change afterwards

local function stat_of(key, name)
  if type(key) ~= "string" and not math_type(key) then
    fail("alc.stats." .. name .. ": a key is a string and not a " .. type(key))
  end
  return text(key)
end

-- The last value of a key counts; nil removes it.
function stats.record(key, value)
  key = stat_of(key, "record")
  local json = value ~= nil and json_of(value, "stats.record") or nil
  local size = custom_bytes + (json and #json + #key or 0) - (custom[key] and #custom[key] + #key or 0)
  if size > CUSTOM_BYTES then
    fail("alc.stats.record: " .. size .. " bytes in all: at most " .. CUSTOM_BYTES .. ", record less")
  end
  custom[key], custom_bytes = json, size
end

function stats.get(key)
  local json = custom[stat_of(key, "get")]
  return json and decode(json)
end

-- How many prompts the session has asked so far, in all its runtimes.
function stats.llm_calls()
  return room.call("llm_calls")
end

alc.stats = stats

-- As a part of the last line, or "".
function room.custom_stats()
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
