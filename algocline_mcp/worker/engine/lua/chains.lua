-- Chains: functions that ask prompts one after another, run side by side by alc.parallel. Each is a coroutine. A chain
-- that asks lets the others go on; when none can, what all of them have asked is one pause, and any answer ends it. The
-- keeper records which answers came when, so a replay resumes the same chains in the same order: first in, first out.
--
-- A chain can give way only where a coroutine can yield to alc.parallel: not in a callback of string.gsub, in a coroutine
-- of the strategy's own, or while a module is loaded. There it asks at once, and the others wait.

local shared = ...
local concat, create, unpack = table.concat, table.create, table.unpack
local close, isyieldable, resume, running = coroutine.close, coroutine.isyieldable, coroutine.resume, coroutine.running
local status, thread_of, yield = coroutine.status, coroutine.create, coroutine.yield
local find, format, getinfo = string.find, string.format, debug.getinfo
local error, next, pairs, pcall, type, xpcall = error, next, pairs, pcall, type, xpcall
local complain, fail, text = shared.complain, shared.fail, shared.text
local texts, most = shared.texts, shared.defaults.chains

local TURN = {} -- what chains yield and are resumed with, so that a yield or resume of the strategy is not taken for one
local ready, first, last = {}, 1, 0 -- chains that can go on, in order
local unsent = {} -- requests {chain, queries, answers, left} since the last wait
local open, sent = {}, 0 -- number of a query -> {request, index}; how many queries were sent by waits
local withdrawn = {} -- numbers of the open queries of chains that were ended
local current -- the chain that runs: {thread, group, index, fn, below, is_ended}

-- "panel.lua:3" of the function of the chain that runs.
function shared.place_of_chain()
  local frame = current and getinfo(current.fn, "S")
  return frame and frame.what ~= "C" and frame.short_src .. ":" .. frame.linedefined or nil
end

local function make_ready(chain)
  last = last + 1
  ready[last] = chain
end

local function take_ready()
  local chain = ready[first]
  if chain then
    ready[first] = nil
    first = first + 1
  end
  return chain
end

local function may_yield()
  return current and running() == current.thread and isyieldable() and not shared.is_loading()
end

local function assert_not_ended()
  if current and current.is_ended then
    complain("parallel.ended")
  end
end

-- Lets other chains go on until this one is made ready.
local function give_way()
  repeat until yield(TURN) == TURN
end

-- Queries ------------------------------------------------------------------------------------------------------

-- The answers to queries, {response} or {refuse} for each.
function shared.ask_host(queries)
  assert_not_ended()
  shared.asked = shared.asked + 1
  if not may_yield() then
    return shared.ask('{"op":"ask","queries":[' .. concat(queries, ",") .. "]}").answers
  end
  local request = { chain = current, queries = queries, answers = {}, left = #queries }
  unsent[#unsent + 1] = request
  give_way()
  if request.problem then
    fail(request.problem)
  end
  return request.answers
end
shared.asked = 0

local function send(requests, wake)
  local queries, count = {}, 0
  for i = 1, #requests do
    for j = 1, #requests[i].queries do
      count = count + 1
      queries[count] = requests[i].queries[j]
    end
  end
  local gone = #withdrawn > 0 and ',"withdrawn":[' .. concat(withdrawn, ",") .. "]" or ""
  local reply = shared.request('{"op":"wait","queries":[' .. concat(queries, ",") .. '],"wake_s":' .. wake .. gone .. "}")
  if reply.error then
    return text(reply.error)
  end
  withdrawn = {}
  for i = 1, #requests do
    for j = 1, #requests[i].queries do
      open[sent] = { request = requests[i], index = j }
      sent = sent + 1
    end
  end
  for i = 1, #reply.answered do
    local number, answer = unpack(reply.answered[i])
    local query = open[number]
    if query then -- else its chain was ended when the answer was on the way
      open[number] = nil
      local request = query.request
      request.answers[query.index] = answer
      request.left = request.left - 1
      if request.left == 0 then
        make_ready(request.chain)
      end
    end
  end
end

local function refuse(request, problem)
  request.problem = problem
  make_ready(request.chain)
end

-- Sends what was asked and blocks until any query is answered. What the keeper refuses is an error of the chain that
-- asked: several are then sent one by one, because a refusal must not reach the chains beside it.
local function wait()
  local requests = unsent
  unsent = {}
  local problem = send(requests, "null")
  if not problem then
    return
  elseif #requests == 0 then
    fail(problem)
  elseif #requests == 1 then
    return refuse(requests[1], problem)
  end
  for i = 1, #requests do
    problem = send({ requests[i] }, "0")
    if problem then
      refuse(requests[i], problem)
    end
  end
end

-- Chains -------------------------------------------------------------------------------------------------------

-- Message handler of a chain: the text of its error, with the strategy's line.
local function located(problem)
  if problem == shared.exhausted then
    return problem
  end
  local sentence = shared.describe(problem)
  return (find(sentence, "^attempt to ") and shared.where() or "") .. sentence
end

local function withdraw(chain)
  for number, query in pairs(open) do
    if query.request.chain == chain then
      withdrawn[#withdrawn + 1] = number
      open[number] = nil
    end
  end
  local left = {}
  for i = 1, #unsent do
    if unsent[i].chain ~= chain then
      left[#left + 1] = unsent[i]
    end
  end
  unsent = left
end

-- Ends the chains of a group that have not ended. What they asked is asked no longer.
local function stop(group)
  group.left = 0
  for i = 1, #group.chains do
    local chain = group.chains[i]
    if not chain.is_ended then
      chain.is_ended = true
      withdraw(chain)
      if chain.below then
        stop(chain.below)
      end
      if status(chain.thread) == "suspended" then -- else it is a caller of the one that failed, and ends by itself
        pcall(close, chain.thread)
      end
    end
  end
end

local function ended(chain, ok, value)
  local group = chain.group
  chain.is_ended = true
  group.left = group.left - 1
  if group.on_error == "skip" and value ~= shared.exhausted then
    value, ok = ok and { ok = true, result = value } or { ok = false, error = value }, true
  end
  if ok then
    group.results[chain.index] = value
  else
    group.failed, group.problem = chain.index, value
    stop(group)
  end
  if group.left == 0 and group.parent then
    make_ready(group.parent)
  end
end

-- Resumes a chain until it asks, or ends.
local function advance(chain)
  if chain.is_ended then
    return
  end
  local outer = current
  current = chain
  local is_alive, a, b = resume(chain.thread, TURN)
  current = outer
  if chain.is_ended then -- while it ran, its group was stopped
    pcall(close, chain.thread)
  elseif status(chain.thread) == "dead" then
    if is_alive then
      ended(chain, a, b)
    else
      ended(chain, false, a)
    end
  elseif a ~= TURN then
    pcall(close, chain.thread)
    ended(chain, false, texts["parallel.yield"])
  end
end

local function started(group, fn, item, index)
  local thread = thread_of(function()
    return xpcall(fn, located, item, index)
  end)
  local chain = { thread = thread, group = group, index = index, fn = fn }
  group.chains[index] = chain
  make_ready(chain)
end

-- Runs the chains of a group to their ends. A chain that calls this waits as one that asks does.
local function run(group)
  local chain = may_yield() and current
  if chain then
    group.parent, chain.below = chain, group
    while group.left > 0 do
      give_way()
    end
    chain.below = nil
  else
    while group.left > 0 do
      local turn = take_ready()
      if turn then
        advance(turn)
      else
        wait()
      end
    end
  end
  if #withdrawn > 0 then -- at once: a host must not see what nobody waits for
    local problem = send({}, "0")
    if problem then
      fail(problem)
    end
  end
end

local OPTIONS = { chain = true, on_error = true }
local MODES = { skip = "skip", fail = "fail", abort = "fail" } -- as in alc.fork

-- Calls `fn(item, i)` for all items side by side, or the items themselves where there is no `fn`.
function shared.run_chains(items, fn, options)
  assert_not_ended()
  for key in next, options do
    if not OPTIONS[key] then
      complain("parallel.option", text(key))
    end
  end
  local mode = MODES[options.on_error == nil and "fail" or options.on_error]
  if not mode then
    complain("parallel.mode", text(options.on_error))
  end
  local count = shared.length(items)
  if count > most then
    complain("parallel.chains", count, most)
  end
  for i = 1, fn and 0 or count do
    if type(items[i]) ~= "function" then
      complain("parallel.chain", i, type(items[i]))
    end
  end
  local group = { chains = {}, results = create(count), left = count, on_error = mode }
  for i = 1, count do
    started(group, fn or items[i], items[i], i)
  end
  run(group)
  if group.problem == shared.exhausted then
    error(group.problem, 0)
  elseif group.failed then
    fail(format(texts["parallel.failed"], group.failed, group.problem))
  end
  return group.results
end
