-- Chain of verification: draft an answer, turn its claims into questions, answer each one without seeing the draft,
-- and only then write the final answer from the claims that held.
--   ctx.task   the question
--   ctx.checks how many claims to check (3)
local draft = alc.llm("Answer in at most five sentences: " .. ctx.task)
local questions, listed = alc.llm_json(
  "List the " .. (ctx.checks or 3) .. " claims in this answer that would hurt most if they were wrong, each as one "
    .. "question.\n" .. draft,
  { system = "You prepare questions for a fact checker.", schema = { type = "array", items = { type = "string" } } }
)

local asks = {}
for _, question in ipairs(type(questions) == "table" and questions or {}) do
  asks[#asks + 1] = { prompt = tostring(question), system = "Answer from what you know or can look up. Say 'unknown' if you can do neither.", grounded = true }
end
if #asks == 0 then
  error("no questions came back; the model said: " .. listed)
end
alc.progress(1, 3, "checking " .. #asks .. " claims")
local answers = alc.llm_batch(asks)

local report = {}
for i, ask in ipairs(asks) do
  report[i] = { question = ask.prompt, answer = answers[i] }
end
alc.progress(2, 3, "writing the final answer")
local final = alc.llm(
  "Question: " .. ctx.task .. "\nDraft: " .. draft .. "\nChecked facts: " .. alc.json_encode(report)
    .. "\nWrite the answer again. Keep only what the checked facts support, and say what stayed unknown."
)
alc.progress(3, 3)
return { answer = final, draft = draft, checks = report }
