-- A long text, all of it: every piece is read on its own, so that the middle gets the same care as the beginning.
-- The findings are merged a few at a time until one answer is left; each finding keeps the number of its piece.
--   ctx.text    the text
--   ctx.task    what to find out
--   ctx.chars   how long a piece may be (4000)
local max_bytes = ctx.chars or 4000
local pieces, piece = {}, ""
local function close()
  if piece:match("%S") then
    pieces[#pieces + 1] = piece
  end
  piece = ""
end
local function cut_at(text) -- a space if there is one, and never within a character
  local at = text:sub(1, max_bytes):match("^.*()%s") or max_bytes
  while at > 1 and (text:byte(at + 1) or 0) & 0xC0 == 0x80 do
    at = at - 1
  end
  return at
end
for paragraph in (ctx.text .. "\n\n"):gmatch("(.-)\n%s*\n") do
  local rest = paragraph
  while #rest > max_bytes do
    close()
    local at = cut_at(rest)
    piece, rest = rest:sub(1, at), rest:sub(at + 1)
  end
  if #piece + 2 + #rest > max_bytes then
    close()
  end
  piece = piece == "" and rest or piece .. "\n\n" .. rest
end
close()
if #pieces == 0 then
  error("ctx.text is empty: give the text to read")
end

local AT_ONCE, MERGED = 8, 6
local function all(asks) -- a few at a time: a host answers eight prompts with care, eighty not
  local answers = {}
  for first = 1, #asks, AT_ONCE do
    local some = table.move(asks, first, math.min(first + AT_ONCE - 1, #asks), 1, {})
    table.move(alc.llm_batch(some), 1, #some, #answers + 1, answers)
    alc.progress(#answers, #asks)
  end
  return answers
end

local asks = {}
for i, text in ipairs(pieces) do
  asks[i] = {
    prompt = "Task: " .. ctx.task .. "\nPiece " .. i .. " of " .. #pieces .. ":\n" .. text
      .. "\n\nWhat this piece says to the task, as short lines that begin with [" .. i .. "], or NOTHING.",
    system = "You read one piece of a longer text. Report what it says; add nothing.",
  }
end
local findings = {}
for _, finding in ipairs(all(asks)) do
  if not finding:match("^%s*NOTHING") then
    findings[#findings + 1] = finding
  end
end

local rounds = 0
while #findings > 1 do
  local merges = {}
  for first = 1, #findings, MERGED do
    local some = table.concat(findings, "\n---\n", first, math.min(first + MERGED - 1, #findings))
    merges[#merges + 1] = {
      prompt = "Task: " .. ctx.task .. "\nFindings:\n" .. some
        .. "\n\nMerge them. Keep every fact with its numbers in brackets; name contradictions.",
    }
  end
  findings, rounds = all(merges), rounds + 1
end
return { answer = findings[1], pieces = #pieces, merges = rounds }
