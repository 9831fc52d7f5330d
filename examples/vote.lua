-- A vote: the same question several times, each answered without seeing another answer, counted by code.
-- While no answer has more than half of all votes, it asks again, three rounds at most; then the vote stays undecided.
--   ctx.task   a question whose answer is a word, a number or a name
--   ctx.votes  how many votes a round has (5)
--   ctx.choices  the answers that count, such as { "C", "C++", "C#" }; without it, any answer
local count, spelling, reasons, total = {}, {}, {}, 0

-- The answer of a vote without markup and the full stop, or nil. C, C++ and C# stay three answers.
local function answer_of(reply)
  if ctx.choices then
    return alc.match_enum(reply, ctx.choices)
  end
  local answer = reply:gsub("[*`]", ""):match(".*ANSWER:%s*([^\n]-)[%s.!,;:]*$")
  return answer ~= "" and answer or nil
end

local function winner()
  local best
  for key in pairs(count) do
    if not best or count[key] > count[best] or (count[key] == count[best] and key < best) then
      best = key
    end
  end
  return best
end

for round = 1, 3 do
  local asks = {}
  for i = 1, ctx.votes or 5 do
    asks[i] = {
      prompt = ctx.task .. "\nThink step by step. Last line: ANSWER: and the answer alone.",
      system = "You are voter " .. (total + i) .. ". Decide by yourself: you know of no other voter.",
    }
  end
  for _, reply in ipairs(alc.llm_batch(asks)) do
    local answer = answer_of(reply)
    total = total + 1
    if answer then
      local key = answer:lower():gsub("%s+", " ")
      count[key] = (count[key] or 0) + 1
      spelling[key] = spelling[key] or answer
      reasons[key] = reasons[key] or reply
    end
  end
  local best = winner()
  alc.progress(round, 3, best and (spelling[best] .. ": " .. count[best] .. " of " .. total) or "no answer yet")
  if best and count[best] * 2 > total then
    return { answer = spelling[best], votes = count, total = total, decided = true, because = reasons[best] }
  end
end

local best = winner()
return { answer = best and spelling[best], votes = count, total = total, decided = false }
