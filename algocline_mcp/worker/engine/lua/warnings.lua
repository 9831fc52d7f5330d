-- Warnings: what a strategy gives and nothing reads. Each stands once in the result of the session; those of the middle
-- of a run also in its log, at the place where they arose, and in the pause that follows.

local shared = ...
local concat = table.concat
local quote = shared.quote

local SHOWN = 20 -- warnings of one session; an author mends the first ones first

local warnings, is_known = {}, {}

local function add(sentence)
  if not is_known[sentence] and #warnings < SHOWN then
    is_known[sentence] = true
    warnings[#warnings + 1] = quote(sentence)
    return true
  end
  return false
end

function shared.warn(sentence)
  if add(sentence) then
    shared.log("warn", sentence, true)
  end
end

-- Adds the warnings that only an end can show.
function shared.warn_at_end(is_without_return)
  if is_without_return then
    add("the strategy ended without return, so its result is null: end the code with return …")
  end
end

-- The warnings as a part of the last line, or "".
function shared.warnings_json()
  return #warnings > 0 and ',"warnings":[' .. concat(warnings, ",") .. "]" or ""
end
