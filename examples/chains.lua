-- For each question three prompts, one after another: a draft, a critic who sees the draft alone, and the final answer.
-- The questions go side by side: in each round, the prompts of all of them make one pause.
--   ctx.questions  a list of strings
if type(ctx.questions) ~= "table" or #ctx.questions == 0 then
  error("chains.lua needs ctx.questions, a list that is not empty", 0)
end
return alc.parallel(ctx.questions, function(question)
  local draft = alc.llm(question)
  local critique = alc.llm(
    "Question: " .. question .. "\nAnswer: " .. draft .. "\nName what is wrong or missing in the answer, or write NOTHING.",
    { system = "You are a strict reviewer. You did not write this answer." }
  )
  if alc.match_enum(critique, { "NOTHING" }) then
    return draft
  end
  return alc.llm("Question: " .. question .. "\nDraft: " .. draft .. "\nReview: " .. critique .. "\nWrite the final answer.")
end, { chain = true })
