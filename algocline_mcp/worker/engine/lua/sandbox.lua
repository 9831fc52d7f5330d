-- The part of Lua's standard library that strategies get: without files, other processes, C code, bytecode and
-- finalisers. The security boundary is the process, which the kernel confines and the keeper can kill; this file
-- keeps a strategy from harming itself.

local shared = ...
local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match, string.sub
local concat = table.concat
local getmetatable, rawget, setmetatable = debug.getmetatable, rawget, setmetatable
local error, load, next, pcall, select, type = error, load, next, pcall, select, type
local fail, guard, unwrap = shared.fail, shared.guard, shared.unwrap
local public = shared.public

-- load, setmetatable -------------------------------------------------------------------------------------------

local function drained(reader)
  local pieces, n = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then
      return concat(pieces)
    elseif type(piece) ~= "string" then
      error("reader function must return a string", 0)
    end
    n = n + 1
    pieces[n] = piece
  end
end

-- Text only: bytecode can crash Lua. A fourth argument is the environment, even if it is nil. A reader function is read
-- to its end before the compiler runs, because it may send prompts.
local function load_text(chunk, name, mode, ...)
  if type(chunk) == "function" then
    local ok, text = pcall(drained, chunk)
    if not ok then
      return nil, text
    end
    chunk, name = text, name == nil and "=(load)" or name
  end
  if mode ~= nil and not find(shared.text(mode), "t", 1, true) then
    return nil, "attempt to load a text chunk (mode is '" .. shared.text(mode) .. "')"
  end
  if select("#", ...) > 0 then
    return unwrap("load", pcall(load, chunk, name, "t", (...)))
  end
  return unwrap("load", pcall(load, chunk, name, "t"))
end

-- Refuses __gc: the collector decides when a finaliser runs, and no limit inside Lua ends a finaliser that loops. The
-- checks are written out instead of a protected call, because each new object of a class comes through here.
local function set_metatable(value, meta)
  if type(value) ~= "table" then
    fail("bad argument #1 to 'setmetatable' (table expected, got " .. type(value) .. ")")
  elseif meta ~= nil then
    if type(meta) ~= "table" then
      fail("bad argument #2 to 'setmetatable' (nil or table expected)")
    elseif rawget(meta, "__gc") ~= nil then
      fail("setmetatable: __gc is not available: use a <close> variable")
    end
  end
  local old = getmetatable(value)
  if old and rawget(old, "__metatable") ~= nil then
    fail("cannot change a protected metatable")
  end
  return setmetatable(value, meta)
end

-- require ------------------------------------------------------------------------------------------------------

-- In a block with a <close> variable `return f()` is no tail call. A tail call replaces the frame of the main chunk, and
-- an error in `return alc.llm(…)` then had no line.
local KEEP_FRAME = "local __main_chunk <close> = nil; "

-- Compiles a source as Lua reads a file: without a byte order mark and without a first line that begins with '#'.
function shared.compile(source, chunk)
  source = gsub(source, "^\xEF\xBB\xBF", "", 1)
  source = gsub(source, "^#[^\n]*", "", 1)
  shared.sources[chunk] = source
  if sub(source, 1, 1) ~= "\27" then -- else bytecode, which Lua refuses with a clearer sentence
    source = KEEP_FRAME .. source
  end
  return load(source, "@" .. chunk, "t", public)
end

local loaded, preload = public.package.loaded, {}

local function from_preload(name)
  local loader = preload[name]
  if loader == nil then
    return "no field package.preload['" .. name .. "']"
  end
  return loader, ":preload:"
end

local function from_host(name)
  local module = shared.call("module", name)
  if module.language == "python" then
    return function()
      return shared.package_in_python(name, module.source)
    end, module.chunk
  end
  local loader, problem = shared.compile(module.source, module.chunk)
  if not loader then
    fail(format("error loading module '%s': %s", name, shared.explain_syntax(problem, module.source)))
  end
  return loader, module.chunk
end

local package = {
  loaded = loaded,
  preload = preload,
  searchers = { from_preload, from_host },
  path = "",
  cpath = "",
  config = "/\n;\n?\n!\n-\n",
}

local function loader_of(name)
  local missing = {}
  local searchers = package.searchers
  if type(searchers) ~= "table" then
    fail("'package.searchers' must be a table")
  end
  for i = 1, #searchers do
    local loader, extra = searchers[i](name)
    if type(loader) == "function" then
      return loader, extra
    elseif type(loader) == "string" then
      missing[#missing + 1] = "\n\t" .. loader
    end
  end
  fail("module '" .. name .. "' not found:" .. concat(missing))
end

-- Ends a loop of requires early: each round is a call to the keeper, and the stack is deep.
local loading = {}
local ENTERED = { __close = function(entered) loading[entered.name] = nil end }

-- Whether a module is being loaded now: a chain that gave way then would let the others meet it half loaded.
function shared.is_loading()
  return next(loading) ~= nil
end

local function require(name)
  if type(name) ~= "string" then
    fail("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")")
  end
  if loaded[name] then
    return loaded[name]
  elseif loading[name] then
    fail("module '" .. name .. "' requires itself, directly or through another module")
  end
  loading[name] = true
  local entered <close> = setmetatable({ name = name }, ENTERED)
  local loader, extra = loader_of(name)
  local result = loader(name, extra)
  if result ~= nil then
    loaded[name] = result
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name], extra
end

-- os -----------------------------------------------------------------------------------------------------------

local os_time, os_date, difftime = guard("time", os.time), guard("date", os.date), guard("difftime", os.difftime)

local function now()
  return shared.call("time")
end

local function whole_seconds()
  return now() // 1 | 0
end

public.os = {
  -- The keeper's clock instead of Lua's own; the time zone is that of the process, which the engine sets.
  time = function(fields)
    if fields == nil then
      return whole_seconds()
    end
    return os_time(fields)
  end,
  date = function(pattern, time)
    return os_date(pattern == nil and "%c" or pattern, time == nil and whole_seconds() or time)
  end,
  clock = function()
    return ((now() - shared.created_s) * 1000 + 0.5) // 1 / 1000
  end,
  difftime = difftime,
  getenv = function(name)
    if type(name) ~= "string" then
      fail("bad argument #1 to 'getenv' (string expected, got " .. type(name) .. ")")
    end
    local value = shared.call("env", name)
    return value ~= shared.null and value or nil
  end,
  exit = function()
    fail("os.exit is not available: return from the strategy to end it, or call error")
  end,
}

-- io, print: both write to the log -----------------------------------------------------------------------------

local PARTIAL = 8192 -- bytes: a longer line is logged in parts

local function stream(level)
  local partial = ""
  local file = {}
  function file:write(...)
    local pieces = { partial, ... }
    for i = 2, select("#", ...) + 1 do
      local kind = type(pieces[i])
      if kind ~= "string" and kind ~= "number" then
        fail(format("bad argument #%d to 'write' (string expected, got %s)", i - 1, kind))
      end
    end
    local text = concat(pieces)
    local from = 1
    local stop = find(text, "\n", 1, true)
    while stop do
      shared.log(level, sub(text, from, stop - 1))
      from = stop + 1
      stop = find(text, "\n", from, true)
    end
    partial = sub(text, from)
    if #partial > PARTIAL then
      file:flush()
    end
    return file
  end
  function file:flush()
    if partial ~= "" then
      local text = partial
      partial = ""
      shared.log(level, text)
    end
    return file
  end
  function file:close()
    return file:flush()
  end
  function file:setvbuf()
    return true
  end
  return file
end

local stdout, stderr = stream("info"), stream("warn")
local flush_stdout, flush_stderr, write_stdout = stdout.flush, stderr.flush, stdout.write

function shared.flush()
  flush_stdout()
  flush_stderr()
end

public.io = {
  stdout = stdout,
  stderr = stderr,
  write = function(...)
    return write_stdout(stdout, ...)
  end,
  open = function(name)
    shared.has_opened = true
    return nil, shared.text(name) .. ": a strategy has no files, so pass the text in ctx", 1
  end,
}

function public.print(...)
  local pieces = { ... }
  for i = 1, select("#", ...) do
    pieces[i] = shared.text(pieces[i])
  end
  shared.log("info", concat(pieces, "\t"))
end

-- A text indexed by a number gave nil, so a loop over a text in the place of a list ran no round, without a word.
setmetatable(public.string, {
  __index = function(_, key)
    if type(key) == "number" then
      fail("a text has no item " .. shared.text(key) .. ": a list was expected, or text:sub(i, i) for one character")
    end
  end,
})

-- Replaced and removed names -----------------------------------------------------------------------------------

public.load = load_text
public.setmetatable = set_metatable
public.require = require
public.debug = { traceback = shared.traceback }
public.dofile, public.loadfile, public.warn, public.string.dump = nil, nil, nil, nil

public.package = package
for _, name in ipairs({ "os", "io", "debug", "package" }) do
  loaded[name] = public[name]
end
