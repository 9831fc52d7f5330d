-- Three reviewers who do not see each other, then the strongest argument against what they agree on.
local asks = {}
for i, role in ipairs({ "security", "cost", "the user" }) do
  asks[i] = { prompt = "As the reviewer for " .. role .. ", say yes or no first, then why: " .. ctx.task }
end
local verdicts = alc.llm_batch(asks)
local doubt = alc.llm("Reviewers said:\n" .. table.concat(verdicts, "\n") .. "\nThe strongest argument against, in one line.")
return { verdicts = verdicts, doubt = doubt }
