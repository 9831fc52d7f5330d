-- All items of a list, each on its own: no item is skipped at number 20. A second prompt, which sees only the item and
-- the result, checks each result. An item that fails twice is returned as failed.
--   ctx.items  a list of strings
--   ctx.task   what to do with each
if type(ctx.items) ~= "table" or #ctx.items == 0 or not ctx.task then
  error("each.lua needs ctx.items, a list that is not empty, and ctx.task, what to do with each item", 0)
end
local done, failed = {}, {}

-- "**OK**" and "Verdict: OK." are one; "OK, but the year is wrong" is none, and whatever is in doubt is none either.
local function is_ok(verdict)
  for _, word in ipairs({ "but", "however", "except", "although", "though", "almost", "mostly" }) do
    if verdict:lower():find("%f[%a]" .. word .. "%f[%A]") then
      return false
    end
  end
  return alc.match_enum(verdict, { "OK", "wrong" }) == "OK"
end

for i, item in ipairs(ctx.items) do
  alc.progress(i, #ctx.items, item)
  local remark = ""
  for attempt = 1, 2 do
    local result = alc.llm(ctx.task .. "\nItem: " .. item .. remark)
    local verdict = alc.llm(
      "Task: " .. ctx.task .. "\nItem: " .. item .. "\nResult: " .. result .. "\nIf the result does the task for "
        .. "this item without any reservation, answer OK and nothing else. Else answer WRONG: and in one line what is wrong.",
      { system = "You are a strict reviewer. You did not write this result." }
    )
    if is_ok(verdict) then
      done[#done + 1] = { item = item, result = result, attempts = attempt }
      break
    elseif attempt == 2 then
      failed[#failed + 1] = { item = item, last = result, why = verdict }
    end
    remark = "\nA reviewer said of your last try: " .. verdict
  end
end
return { done = done, failed = failed }
