-- From the code of a session to its last line.

local room = ...
local decode, encode, quote, public, line_bytes = room.decode, room.encode, room.quote, room.public, room.line_bytes

local ERROR_BYTES = line_bytes // 8 -- of an error's text; escapes make a byte six at most

local function forget(held)
  for name in next, held do
    held[name] = nil
  end
end

local function failed(problem)
  forget(public) -- without a new table: there may be no byte left, and the text below needs some
  forget(package.loaded)
  collectgarbage("collect")
  if problem == room.exhausted then
    problem = room.heap_exceeded
  end
  problem = room.describe(problem)
  if #problem > ERROR_BYTES then
    problem = string.sub(problem, 1, ERROR_BYTES) .. "…"
  end
  return '{"error":' .. quote(problem) .. ',"op":"end"}'
end

local function result_of(main)
  local value = main()
  local line = '{"op":"end","result":' .. encode(value, "result") .. room.custom_stats() .. "}"
  if #line > line_bytes then
    error("the result has " .. #line .. " bytes as JSON: at most " .. line_bytes .. " can be sent", 0)
  end
  return line
end

-- The last line of a session. chunk names the code, ctx is JSON, seed has 63 bits, created_s are unix seconds. heap_bytes
-- limits the memory of a child.
function room.run(code, chunk, ctx, seed, created_s, heap_bytes)
  if heap_bytes then
    room.limit_heap(heap_bytes)
  end
  room.seed(seed)
  room.chunk, room.created_s = chunk, created_s
  local ok, value = pcall(decode, ctx)
  if not ok then
    return failed("ctx is not JSON: " .. value)
  end
  public.ctx = value
  local main, problem = room.compile(code, chunk)
  if not main then
    return failed(room.explain_syntax(problem))
  end
  local ended, line = xpcall(result_of, room.explain, main)
  pcall(room.flush)
  return ended and line or failed(line)
end
