-- What to write instead: a sentence behind an error that writers of other languages make, and the nearest known name of a
-- misspelt one. Computed only where a strategy fails, or passes an option for the first time.

local shared = ...
local byte, find, format, gmatch = string.byte, string.find, string.format, string.gmatch
local gsub, lower, match, reverse, sub = string.gsub, string.lower, string.match, string.reverse, string.sub
local concat, sort = table.concat, table.sort
local ipairs, next, tonumber, type = ipairs, next, tonumber, type
local public = shared.public

-- Names --------------------------------------------------------------------------------------------------------

local LONGEST = 40 -- bytes of a name that is compared
local LINE = 400 -- bytes of a line that are searched word by word: the time grows with their square

-- Edits between two texts, where a swap of neighbours is one (Damerau 1964).
local function distance(a, b)
  local before, last, row = nil, nil, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    before, last, row = last, row, { [0] = i }
    for j = 1, #b do
      local cost = byte(a, i) == byte(b, j) and 0 or 1
      local best = last[j - 1] + cost
      best = last[j] + 1 < best and last[j] + 1 or best
      best = row[j - 1] + 1 < best and row[j - 1] + 1 or best
      if before and j > 1 and byte(a, i) == byte(b, j - 1) and byte(a, i - 1) == byte(b, j) then
        best = before[j - 2] + 1 < best and before[j - 2] + 1 or best
      end
      row[j] = best
    end
  end
  return row[#b]
end

local function plain(name)
  return (gsub(lower(name), "[^%w]", ""))
end

-- How far a name is from a known one; nil where nobody would take one for the other.
local function nearness(name, known)
  if #name > LONGEST then
    return nil
  end
  local edits = distance(plain(name), plain(known))
  return edits <= (#known > 5 and 2 or #known > 2 and 1 or 0) and edits or nil
end
shared.nearness = nearness

local LIBRARIES = { "alc", "string", "table", "math", "os", "utf8", "coroutine" }

-- Qualified names of functions: "alc.llm", "alc.state.get", "ipairs".
local function known_names()
  local names = {}
  local function add(owner, prefix, depth)
    for name, value in next, owner do
      if type(name) == "string" and type(value) == "function" then
        names[#names + 1] = prefix .. name
      elseif type(name) == "string" and type(value) == "table" and depth > 0 then
        add(value, prefix .. name .. ".", depth - 1)
      end
    end
  end
  add(public, "", 0)
  for _, name in ipairs(LIBRARIES) do
    if type(public[name]) == "table" then
      add(public[name], name .. ".", name == "alc" and 1 or 0)
    end
  end
  sort(names)
  return names
end

local SHOWN = 3 -- names in one hint

local function nearest_names(name)
  local found, least = {}, 3
  for _, known in ipairs(known_names()) do
    local edits = nearness(name, match(known, "[^.]+$"))
    if edits and edits < least then
      found, least = { known }, edits
    elseif edits == least and #found < SHOWN then
      found[#found + 1] = known
    end
  end
  return found
end

-- gmatch keeps the order: of two words at the same distance the first.
local KEYWORDS = "return local function end else elseif if then for while do repeat until break and or not in goto"
local KEYWORD = "the nearest word of Lua is: "

-- The keyword that `word` is a misspelling of, or nil. Of two letters only a swap is one: any letter has a neighbour.
local function nearest_keyword(word)
  local nearest, least
  for known in gmatch(KEYWORDS, "%a+") do
    local edits = #known == 2 and #word == 2 and (reverse(lower(word)) == known and 1 or nil) or nearness(word, known)
    if edits and known ~= word and (not least or edits < least) then
      nearest, least = known, edits
    end
  end
  return nearest
end

-- Words that writers of other libraries use in the name of a function -> what it is called here. None is a name above.
local OTHER_WORDS = {
  ask = "alc.llm", prompt = "alc.llm", query = "alc.llm", chat = "alc.llm", complete = "alc.llm", generate = "alc.llm",
  verdict = "alc.match_bool, alc.match_enum", bool = "alc.match_bool", boolean = "alc.match_bool",
  choice = "alc.match_enum", enum = "alc.match_enum", rating = "alc.parse_score", int = "alc.parse_number",
  float = "alc.parse_number", parse_json = "alc.json_extract", now = "alc.time",
}

-- Functions for which another library uses the name, or the last of its words that has one.
local function called_otherwise(name)
  local names = OTHER_WORDS[name]
  for word in gmatch(name, "%a+") do
    names = OTHER_WORDS[name] or OTHER_WORDS[lower(word)] or names
  end
  return names
end

-- Errors of a run ----------------------------------------------------------------------------------------------

local function of_missing_function(kind, name)
  if kind == "global" and name == "f" then
    return 'Lua has no f-strings: write "…" .. x or alc.fmt("… %s", x)'
  end
  local names = nearest_names(name)
  if #names > 0 then
    return "the nearest names are: " .. concat(names, ", ")
  end
  names = #name <= LONGEST and called_otherwise(name)
  if names then
    return "here it is called: " .. names
  end
  local word = kind == "global" and nearest_keyword(name) -- `retrun {1}` is a call
  return word and KEYWORD .. word
end

local LIST = "for i, x in ipairs(list) do … end"
local SPLIT = "it is a text and not a list: pass a list, or cut the text with for part in text:gmatch('[^,]+') do … end"
local AS_NUMBER = "an answer is a text: alc.parse_number(answer) reads the number in it"

-- Pattern of Lua's own text -> the hint, or a function of the captures that returns it or nil.
local RUN = {
  { "attempt to call a nil value %((%a+) '([^']*)'%)", of_missing_function },
  { "attempt to call a table value %(for iterator", "to go through a list write " .. LIST },
  { "attempt to call a string value %(for iterator", SPLIT },
  { "bad argument #1 to 'for iterator' %(table expected, got string%)", SPLIT },
  { "attempt to add a '%a+' with a 'string'", "texts are joined with .. and not with +; " .. AS_NUMBER },
  { "attempt to add a 'string' with", "texts are joined with .. and not with +; " .. AS_NUMBER },
  { "attempt to %a+ a 'string' with", AS_NUMBER },
  { "attempt to %a+ a '%a+' with a 'string'", AS_NUMBER },
  { "attempt to compare number with string", AS_NUMBER },
  { "attempt to compare string with number", AS_NUMBER },
  { "attempt to perform arithmetic on a string value", AS_NUMBER },
  { "attempt to index a nil value", function()
    return shared.has_opened and "io.open returned nil: a strategy has no files, so pass the text in ctx"
  end },
}

local function hint_of(rows, problem)
  for _, row in ipairs(rows) do
    local first, second = match(problem, row[1])
    if first then
      local hint = row[2]
      return type(hint) == "string" and hint or type(hint) == "function" and hint(first, second) or nil
    end
  end
end

-- " (…)" behind the text of an error, or "".
function shared.hint(problem)
  problem = match(problem, "^[^\n]*")
  local hint = shared.not_given(problem) or hint_of(RUN, problem)
  return hint and " (" .. hint .. ")" or ""
end

-- Syntax errors ------------------------------------------------------------------------------------------------

-- Pattern of the line of code -> the hint.
local SYNTAX = {
  { "^%s*```", "the code stands in a fence: leave out the lines that begin with ```" },
  { "^%s*def%s+[%w_]+", "Lua writes: function name(arguments) … end" },
  { "^%s*import%s", 'Lua writes: local name = require("name")' },
  { "^%s*from%s+%S+%s+import", 'Lua writes: local name = require("name")' },
  { "^%s*const%s", "Lua writes: local name = value" },
  { "^%s*let%s", "Lua writes: local name = value" },
  { "^%s*var%s", "Lua writes: local name = value" },
  { "^%s*elif%s", "Lua writes: elseif … then" },
  { "!=", "Lua writes ~= for not equal" },
  { "[%w_%])]%s*[-+*/%%]=[^=]", "Lua has no +=: write x = x + 1, and text = text .. more" },
  { "[%w_%])]%s*%.%.=", "Lua has no ..=: write text = text .. more" },
  { "%+%+", "Lua has no ++: write x = x + 1" },
  { "&&", "Lua writes and" },
  { "||", "Lua writes or" },
  { "!%s*[%a(]", "Lua writes not" },
  { "=>", "Lua writes: function(x) return … end" },
  { "^%s*for%s.*[:{]%s*$", "Lua writes: " .. LIST },
  { "^%s*while%s.*[:{]%s*$", "Lua writes: while … do … end" },
  { "^%s*if%s.*[:{]%s*$", "Lua writes: if … then … end" },
  { "^%s*else%s*:", "Lua writes: else … end" },
  { "=%s*%[[^%[=]", "Lua writes a list as {1, 2, 3}" },
  { "^%s*//", "a comment of Lua begins with --" },
  { "^%s*#", "a comment of Lua begins with --" },
}

-- A keyword that is misspelt at the beginning of a statement: Lua takes it for a name, and the error for the token after
-- it. So the word before that token is judged, and in `fi (x) then`, which begins with a call, the first of the line.
-- `before`: the line of code before that line.
local function of_keyword(problem, line, before)
  local token = match(problem, "syntax error near '(.+)'$") or match(problem, "syntax error near (<eof>)$")
    or match(problem, "unexpected symbol near '(then)'$")
  line, before = sub(line, 1, LINE), sub(before, -LINE)
  local at = token == "<eof>" and #line + 1 or token and find(line, token, 1, true)
  while at do
    local word = nearest_keyword(match(before .. "\n" .. sub(line, 1, at - 1), "%f[%w_]([%a_][%w_]*)%s*$") or "")
    if word then
      return KEYWORD .. word
    end
    at = find(line, token, at + 1, true)
  end
  local word = token == "then" and nearest_keyword(match(line, "^%s*([%a_][%w_]*)%s*%(") or "")
  return word and KEYWORD .. word
end

-- The line of the error, else the line before, where the mistake often is. A line that the compiler took is not asked.
function shared.syntax_hint(problem, source)
  local number, i, before = tonumber(match(problem, ":(%d+):")), 0, ""
  for line in gmatch(number and source .. "\n" or "", "([^\n]*)\n") do
    i = i + 1
    if i == number then
      local hint = hint_of(SYNTAX, line)
        or find(problem, "expected near", 1, true) and hint_of(SYNTAX, before)
        or of_keyword(problem, line, before)
      return hint and format(" (%s)", hint) or ""
    end
    if find(line, "%S") then
      before = gsub(line, "%-%-.*$", "")
    end
  end
  return ""
end
