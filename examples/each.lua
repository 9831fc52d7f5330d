-- All items of a list, each on its own: no item is skipped at number 20. A second prompt, which sees only the item and
-- the result, checks each result. An item that fails twice is returned as failed.
--   ctx.items  a list of strings
--   ctx.task   what to do with each
local done, failed = {}, {}
for i, item in ipairs(ctx.items) do
  alc.progress(i, #ctx.items, item)
  local remark = ""
  for attempt = 1, 2 do
    local result = alc.llm(ctx.task .. "\nItem: " .. item .. remark)
    local verdict = alc.llm(
      "Task: " .. ctx.task .. "\nItem: " .. item .. "\nResult: " .. result .. "\nSay OK if the result does the task "
        .. "for this item, else say in one line what is wrong.",
      { system = "You are a strict reviewer. You did not write this result." }
    )
    if verdict:match("^%s*OK") then
      done[#done + 1] = { item = item, result = result, attempts = attempt }
      break
    elseif attempt == 2 then
      failed[#failed + 1] = { item = item, last = result, why = verdict }
    end
    remark = "\nA reviewer said of your last try: " .. verdict
  end
end
return { done = done, failed = failed }
