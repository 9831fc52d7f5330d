"""alc.eval in real engines, from both languages and for strategies in both, without an installed evalframe."""

import pytest

from tests.rig.rig import Rig, finish, run

pytestmark = pytest.mark.anyio

PACKAGES = {
    "python_one": ("__init__.py", 'import alc\nmeta = {}\ndef run(ctx):\n    return alc.llm(ctx["task"])\n'),
    "lua_one": ("init.lua", "return { run = function(ctx) return alc.llm(ctx.task) end }"),
}
CALLS = {
    "lua": 'return alc.eval({ cases = { { input = "?", expected = "end" } } }, ctx.strategy)',
    "python": 'import alc\nreturn alc.eval({"cases": [{"input": "?", "expected": "end"}]}, ctx["strategy"])',
}


@pytest.mark.slow
async def test_alc_eval_runs_strategies_of_both_languages_from_both_languages(rig: Rig) -> None:
    for name, (file, source) in PACKAGES.items():
        (rig.home.packages / name).mkdir(parents=True)
        (rig.home.packages / name / file).write_text(source)
    rates = {}

    async with rig.pool() as pool:
        for language, code in CALLS.items():
            for name in PACKAGES:
                reply = await run(pool, code, language=language, ctx={"strategy": name})
                result = await finish(pool, reply)
                rates[language, name] = result["result"]["aggregated"]["pass_rate"]

    assert rates == {(language, name): 1.0 for language in CALLS for name in PACKAGES}
