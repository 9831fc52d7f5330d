-- Runs the code of a session and returns its last line.

local shared = ...
local decode, encode, quote = shared.decode, shared.encode, shared.quote
local public, line_bytes = shared.public, shared.line_bytes

local ERROR_BYTES = line_bytes // 8 -- of an error's text: an escaped byte takes at most six

local function clear(globals)
  for name in next, globals do
    globals[name] = nil
  end
end

local function failed(problem)
  clear(public) -- frees memory without a new table: there may be none left, and the text below needs some
  clear(package.loaded)
  collectgarbage("collect")
  if problem == shared.exhausted then
    problem = shared.heap_exceeded
  end
  problem = shared.describe(problem)
  if #problem > ERROR_BYTES then
    problem = string.sub(problem, 1, ERROR_BYTES) .. "…"
  end
  return '{"error":' .. quote(problem) .. ',"op":"end"' .. shared.warnings_json() .. "}"
end

local function result_of(main)
  local returned = table.pack(main())
  local value = returned[1]
  shared.warn_at_end(returned.n == 0)
  if type(value) == "table" and type(rawget(value, "run")) == "function" then
    error("the code returns a module: call it at the end, return M.run(ctx), or install it as a package and run that", 0)
  end
  local result = encode(value, "result")
  shared.assert_refusals_seen()
  local line = '{"op":"end","result":' .. result .. shared.custom_stats() .. shared.warnings_json() .. "}"
  if #line > line_bytes then
    error("result of " .. #line .. " bytes as JSON, at most " .. line_bytes .. " (ALC_LINE_BYTES): return less of it, no"
      .. " answer is lost", 0)
  end
  return line
end

-- Returns the last line of a session. chunk names the code, ctx is JSON, seed has 63 bits, created_s are unix seconds.
-- name_bytes limits keys and names, json_depth how deep values nest, heap_bytes the memory of a child of alc.fork.
function shared.run(code, chunk, ctx, seed, created_s, name_bytes, json_depth, heap_bytes)
  shared.name_bytes, shared.json_depth = name_bytes, json_depth
  shared.is_child = heap_bytes ~= nil
  if heap_bytes then
    shared.limit_heap(heap_bytes)
  end
  shared.seed(seed)
  shared.chunk, shared.created_s = chunk, created_s
  local ok, value = pcall(decode, ctx)
  if not ok then
    return failed("ctx is not JSON: " .. value)
  end
  public.ctx, shared.given = value, value
  local main, problem = shared.compile(code, chunk)
  if not main then
    return failed(shared.explain_syntax(problem, code))
  end
  local ended, line = xpcall(result_of, shared.explain, main)
  pcall(shared.flush)
  return ended and line or failed(line)
end
