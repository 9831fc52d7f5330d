-- alc.*: the functions that send prompts, log lines and calls to the keeper. Each is a Lua function of fixed arity, so
-- Lua drops surplus arguments. A function that reads or changes anything outside the strategy uses `call`. Errors point
-- at the strategy's line.

local shared = ...
local concat = table.concat
local collectgarbage, next, pcall, select, type = collectgarbage, next, pcall, select, type
local math_type, tointeger = math.type, math.tointeger
local find, format, sub = string.find, string.format, string.sub
local encode, decode, quote, null = shared.encode, shared.decode, shared.quote, shared.null
local fail, text = shared.fail, shared.text
local exchange, line_bytes = shared.exchange, shared.line_bytes

local stdlib = decode(shared.texts)
local texts, defaults = stdlib.texts, stdlib.defaults
shared.defaults = defaults

local alc = {}
shared.alc, shared.public.alc = alc, alc

-- Raises one of the texts of stdlib.py, at the strategy's line.
local function complain(key, ...)
  fail(format(texts[key], ...))
end
shared.texts, shared.complain = texts, complain

-- Messages to the keeper ---------------------------------------------------------------------------------------

-- Python pushes the reply into Lua without protection: a reply that does not fit would hang the process. So no exchange
-- begins while the heap is above heap_bytes, and the headroom above heap_bytes is larger than the longest line.
local function assert_heap()
  local heap_kib = shared.heap_bytes / 1024
  if collectgarbage("count") > heap_kib then
    collectgarbage("collect")
    if collectgarbage("count") > heap_kib then
      fail(shared.heap_exceeded)
    end
  end
end

-- The keeper's reply; {error} where it refuses the line.
local function request(line)
  if #line > line_bytes then
    return { error = format("%d bytes in one message: at most %d can be sent", #line, line_bytes) }
  end
  assert_heap()
  local ok, reply = pcall(exchange, line)
  if not ok or type(reply) ~= "string" then -- where lupa itself fails, `reply` is a Python object
    fail("the session has lost its keeper")
  end
  return decode(reply, math.huge) -- what another session has stored may nest deeper
end

local function ask(line)
  local message = request(line)
  if message.error then
    fail(text(message.error))
  end
  return message
end

local function send(line)
  assert_heap()
  pcall(exchange, line, true)
end

-- Calls a pure function of stdlib.py with JSON values and returns its result. Nothing is recorded.
function shared.library(name, ...)
  local arguments = {}
  for i = 1, select("#", ...) do
    arguments[i] = encode(select(i, ...), name)
  end
  local line = "[" .. concat(arguments, ",") .. "]"
  if #line > line_bytes then
    fail(format("%d bytes in one message: at most %d can be sent", #line, line_bytes))
  end
  assert_heap()
  local message = decode(shared.perform(name, line))
  if message.error then
    fail(text(message.error))
  elseif message.result ~= null then
    return message.result
  end
end

-- Refuses a long name before it is sent, with the keeper's sentence: the keeper would read 30 MB in two seconds.
function shared.assert_name(name, value)
  if type(value) == "string" and #value > shared.name_bytes then
    if find(name, "^state%.") then
      complain("name.key", name, #value, shared.name_bytes)
    end
    complain("name.argument", name, #value, shared.name_bytes)
  end
end

-- Calls a host function with JSON values and returns its result, which the keeper records.
local function call(name, ...)
  shared.assert_name(name, (...))
  local arguments = {}
  for i = 1, select("#", ...) do
    arguments[i] = encode(select(i, ...), name)
  end
  return ask('{"args":[' .. concat(arguments, ",") .. '],"name":"' .. name .. '","op":"call"}').result
end
shared.request, shared.ask, shared.call = request, ask, call

-- alc.llm ------------------------------------------------------------------------------------------------------

local MAX_TOKENS, MAX_TOKENS_LIMIT = defaults.max_tokens, defaults.max_tokens_limit
local FLAGS = { grounded = true, underspecified = true } -- present only when true
local OWN = { prompt = true, system = true, max_tokens = true }
local KNOWN = { "grounded", "label", "max_tokens", "prompt", "schema", "system", "underspecified" }

local function is_scalar(value)
  local kind = type(value)
  return kind == "string" or kind == "boolean" or kind == "number" and value - value == 0
end

local is_checked, left = {}, 100 -- names of options that were compared with the known ones; how many more will be

-- Warns of an option that nothing reads: a near miss of a known one, or a value that cannot be passed on.
local function check_option(key, value)
  if type(key) ~= "string" or not is_scalar(value) then
    shared.warn(format(texts["option.value"], text(key), type(value)))
  elseif not is_checked[key] and left > 0 then
    is_checked[key], left = true, left - 1
    for i = 1, #KNOWN do
      if key ~= KNOWN[i] and shared.nearness(key, KNOWN[i]) then
        shared.warn(format(texts["option.near"], key, KNOWN[i]))
      end
    end
  end
end

local last_schema, last_form -- as JSON, and the text that asks for it: a loop uses one schema

-- The text behind a prompt that asks for the form of `schema`, a table.
local function form_of(schema)
  local ok, json = pcall(encode, schema, "schema")
  if not ok then
    fail("alc.llm: " .. json)
  elseif json ~= last_schema then
    local form, problem = table.unpack(shared.library("schema_form", schema))
    if problem ~= null then
      fail("alc.llm: " .. problem)
    end
    last_schema, last_form = json, form
  end
  return "\n\n" .. last_form
end

-- The JSON of one query. Other options are passed on if they are strings, booleans or finite numbers.
local function query(prompt, options)
  local max_tokens = tointeger(options.max_tokens)
  if not max_tokens or max_tokens < 0 or max_tokens > MAX_TOKENS_LIMIT then
    if options.max_tokens ~= nil and options.max_tokens ~= null then
      shared.warn(texts["option.max_tokens"])
    end
    max_tokens = MAX_TOKENS
  end
  local system = options.system
  if system ~= nil and system ~= null and type(system) ~= "string" then
    shared.warn(format(texts["option.value"], "system", type(system)))
  end
  local schema = options.schema
  if type(schema) == "table" then
    prompt = prompt .. form_of(schema)
  end
  local plain = '"max_tokens":' .. max_tokens .. ',"prompt":' .. quote(prompt)
    .. ',"system":' .. (type(system) == "string" and quote(system) or "null")
    .. (type(schema) == "table" and ',"schema":' .. last_schema .. "}" or "}")
  local others
  for key, value in next, options do
    if not OWN[key] and not FLAGS[key] and (key ~= "schema" or type(value) ~= "table") then
      check_option(key, value)
    end
    if type(key) == "string" and not OWN[key] and is_scalar(value) and (not FLAGS[key] or value == true) then
      others = others or {}
      others[key] = value
    end
  end
  return others and sub(encode(others, "options"), 1, -2) .. "," .. plain or "{" .. plain
end

local function checked(prompt, name)
  if type(prompt) == "number" then
    return text(prompt)
  elseif type(prompt) ~= "string" then
    shared.raise_refused(prompt)
    complain("prompt", name, type(prompt))
  end
  return prompt
end

shared.query, shared.checked = query, checked

function alc.llm(prompt, options)
  if options ~= nil and options ~= null and type(options) ~= "table" then
    shared.warn(format(texts["options.type"], type(options)))
  end
  local answer = shared.ask_host({ query(checked(prompt, "alc.llm"), type(options) == "table" and options or {}) })[1]
  if answer.refuse then
    complain("refused", answer.refuse)
  end
  return answer.response
end

function alc.llm_batch(items)
  if type(items) ~= "table" then
    complain("batch.array", type(items))
  end
  local count = shared.length(items)
  if count == 0 then
    complain("batch.empty")
  end
  local queries = {}
  for i = 1, count do
    local item, name = items[i], "alc.llm_batch: item " .. i
    if type(item) ~= "table" then
      complain("batch.item", i, type(item))
    end
    queries[i] = query(checked(item.prompt, name), item)
  end
  local answers = shared.ask_host(queries)
  local responses = {}
  for i = 1, count do
    local reason = answers[i].refuse
    responses[i] = reason and shared.refused(i, reason) or answers[i].response
  end
  return responses
end

-- JSON ---------------------------------------------------------------------------------------------------------

-- The result of a protected call of encode or decode, or its error with the strategy's position. The error of memory
-- keeps its text.
local function unwrap_json(name, ok, result)
  if ok then
    return result
  elseif result == shared.exhausted then
    error(result, 0)
  end
  fail(name .. ": " .. result)
end
shared.unwrap_json = unwrap_json

function alc.json_encode(value)
  return unwrap_json("alc.json_encode", pcall(encode, value, "the value"))
end

function alc.json_decode(json)
  if type(json) ~= "string" then
    complain("json_decode", type(json))
  end
  return unwrap_json("alc.json_decode", pcall(decode, json))
end

-- Log, progress, time ------------------------------------------------------------------------------------------

local LEVELS = { error = true, warn = true, info = true, debug = true }
local PHASE = 80 -- characters of the name of a phase; the rest is cut off
local LOGGED = 65536 -- bytes of one message; the rest is cut off

-- `is_warning`: the next pause shows the message to the host, see warnings.lua.
local function log(level, message, is_warning)
  if #message > LOGGED then
    message = sub(message, 1, LOGGED) .. "…"
  end
  send('{"level":"' .. level .. '","message":' .. quote(message) .. (is_warning and ',"op":"log","warning":true}' or ',"op":"log"}'))
end
shared.log = log

function alc.log(level, message)
  log(LEVELS[level] and level or "info", text(message))
end

local function count_of(value, name)
  local count = math_type(value) and tointeger(value)
  if not count or count < 0 then
    complain("progress", name, text(value))
  end
  return count
end

function alc.progress(step, total, message)
  step, total = count_of(step, "step"), count_of(total, "total")
  message = message ~= nil and message ~= null and quote(sub(text(message), 1, LOGGED)) or "null"
  send('{"message":' .. message .. ',"op":"progress","step":' .. step .. ',"total":' .. total .. "}")
end

-- Marks where a part of the run begins: a line of the log, with a field for the views.
function alc.phase(name)
  local shown = name ~= nil and name ~= null and text(name):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "") or ""
  if shown == "" then
    complain("phase")
  elseif #shown > PHASE then
    local ok, cut = pcall(utf8.offset, shown, PHASE + 1) -- nil where it has fewer characters; an error where it is not UTF-8
    shown = sub(shown, 1, (ok and cut or (ok and #shown or PHASE) + 1) - 1)
  end
  send('{"level":"info","message":' .. quote("phase: " .. shown) .. ',"op":"log","phase":' .. quote(shown) .. "}")
end

-- Unix seconds, a float with a resolution of 1 ms.
function alc.time()
  return call("time") + 0.0
end

