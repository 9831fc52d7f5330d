-- The inputs that `meta` of a package declares: ctx gets each of them, of its type, before `run`. The code that runs a
-- package (languages.py) reaches this as the module alc.inputs.

local shared = ...
local error, next, pcall, type = error, next, pcall, type
local encode, library = shared.encode, shared.library
local as_array, warn = shared.as_array, shared.warn

-- Returns ctx, changed. A table that JSON cannot hold is no form: packages of others may keep functions there.
local function with_inputs(name, meta, ctx, is_quiet)
  local forms = type(meta) == "table" and meta.inputs
  if type(forms) ~= "table" or type(ctx) ~= "table" or not pcall(encode, forms, "meta.inputs") then
    return ctx
  end
  local values, names = {}, {}
  for key, value in next, ctx do
    if type(key) == "string" then
      names[#names + 1] = key
      values[key] = forms[key] ~= nil and value or nil
    end
  end
  local read = library("package_inputs", name, forms, values, as_array(names), shared.is_child)
  if read.problem then
    error(read.problem, 0)
  end
  for key, value in next, read.changes do
    ctx[key] = value
  end
  for i = 1, is_quiet and 0 or #read.warnings do
    warn(read.warnings[i])
  end
  return ctx
end

shared.with_inputs = with_inputs
shared.public.package.loaded["alc.inputs"] = with_inputs
