local describe, it, expect = lust.describe, lust.it, lust.expect

describe("alc_evaluate", function()
  it("hands on what it is given", function()
    local given
    local before = _G.alc
    _G.alc = {
      eval = function(scenario, strategy, options)
        given = { scenario, strategy, options.strategy_opts.n }
        return "report"
      end,
    }
    local report = require("alc_evaluate").run({ scenario = "s", strategy = "p", strategy_opts = { n = 3 } })
    _G.alc = before
    expect(report).to.equal("report")
    expect(given).to.equal({ "s", "p", 3 })
  end)
end)
