-- alc_evaluate: alc.eval for strategies in Python, which cannot load graders that are a library in Lua.
--
-- ctx: scenario, strategy, and the options strategy_opts, auto_card and card_pkg. Returns the report.

return {
  meta = {
    name = "alc_evaluate",
    version = "1.0.0",
    category = "built in",
    type = "library",
    description = "alc.eval as a package, for strategies in Python",
  },
  run = function(ctx)
    local options = { strategy_opts = ctx.strategy_opts, auto_card = ctx.auto_card, card_pkg = ctx.card_pkg }
    return alc.eval(ctx.scenario, ctx.strategy, options)
  end,
}
