local describe, it, expect = lust.describe, lust.it, lust.expect
local frame = require("evalframe")

local function run(scenario)
  scenario.provider = function(input)
    return { text = input }
  end
  return frame.suite("s")(scenario):run():to_table()
end

describe("evalframe", function()
  it("scores each case with each binding", function()
    local report = run({
      frame.bind({ frame.graders.exact_match }),
      frame.bind({ frame.graders.not_empty, weight = 3 }),
      cases = { frame.case({ input = "a", expected = "a" }), frame.case("two")({ input = "b", expected = "c" }) },
    })
    expect(report.aggregated.passed).to.equal(1)
    expect(report.results[2].score).to.equal(0.75)
    expect(report.failures[1].name).to.equal("two")
  end)

  it("gives a report without cases", function()
    local report = run({ frame.bind({ frame.graders.contains }), cases = {} })
    expect(report.aggregated.total).to.equal(0)
    expect(report.aggregated.pass_rate).to.equal(0)
  end)

  it("refuses a binding without a grader", function()
    expect(pcall(frame.bind, {})).to.equal(false)
  end)
end)
