"""Specs of packages, run in real workers: counts, failures, and that nothing of them is left."""

import os
import tempfile
from typing import Any

import pytest

from algocline_mcp.config.home import BUILT_IN_PACKAGES
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.packages.catalog import PackageContext
from algocline_mcp.packages.specs import Spec, SpecRun, run_specs, select_specs, select_text
from tests.rig.processes import processes_of
from tests.rig.rig import WAIT_S, Rig, until

pytestmark = pytest.mark.anyio

STRATEGY = 'local M = {} M.meta = {version = "1"} function M.run(ctx) return alc.llm(ctx.task) end return M'
GOOD = """
local describe, it, expect = lust.describe, lust.it, lust.expect
describe('echo', function()
  local echo
  lust.before(function()
    _G.alc = { llm = function(prompt) return prompt .. '!' end }
    package.loaded.echo = nil
    echo = require('echo')
  end)
  lust.after(function() _G.alc = nil end)
  it('asks what it is given', function() expect(echo.run({ task = 'a' })).to.equal('a!') end)
  it('has a version', function() expect(echo.meta).to.have_key('version') end)
  it('will do more')
end)
"""
BAD = """
lust.describe('outer', function()
  lust.describe('inner', function()
    lust.it('is wrong', function() lust.expect({ 1 }).to.equal({ 2 }) end)
  end)
end)
"""


@pytest.fixture
def context(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> PackageContext:
    """A home with the packages `echo` and `other`; temporary files are made in the rig's directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(rig.root))
    for name in ("echo", "other"):
        (rig.home.packages / name / "spec").mkdir(parents=True)
        (rig.home.packages / name / "init.lua").write_text(STRATEGY)
    environ = {name: value for name, value in os.environ.items() if name != "HOME"}
    return PackageContext(rig.home, Limits(), environ | {"ALC_HOME": str(rig.home.root)})


def write(context: PackageContext, name: str, text: str, package: str = "echo") -> None:
    path = context.home.packages / package / "spec" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


async def run_and_check(context: PackageContext, spec_run: SpecRun, within_s: float = WAIT_S) -> dict[str, Any]:
    """The report; then no process is left, and no file outside the home."""
    report = await run_specs(spec_run, context.limits, context.environ, within_s)
    root = context.home.root.parent
    await until(lambda: not processes_of(root))
    assert os.listdir(root) == [context.home.root.name]
    return report


@pytest.mark.slow
async def test_cases_are_counted_and_failures_name_file_case_and_line(context: PackageContext) -> None:
    write(context, "echo_spec.lua", GOOD)
    write(context, "wrong_spec.lua", BAD)
    report = await run_and_check(context, select_specs(context, "echo"))

    assert {name: report[name] for name in ("passed", "failed", "pending", "total")} == {
        "passed": 2, "failed": 1, "pending": 1, "total": 4,
    }  # fmt: skip
    assert report["spec_files"] == ["spec/echo_spec.lua", "spec/wrong_spec.lua"]
    assert report["resolved_search_paths"] == [str(context.home.packages), str(BUILT_IN_PACKAGES)]
    assert report["failures"] == [
        {
            "file": "spec/wrong_spec.lua",
            "name": "outer inner is wrong",
            "error": "spec/wrong_spec.lua:4: expected [1] to equal [2]",
        }
    ]


BROKEN = {
    "no Lua": ("x =", "spec:1: unexpected symbol near <eof>"),
    "an error": ("error('oops')", "spec:1: oops"),
    "a table": ("error({})", "table: "),
    "a question": (
        "alc.llm('who answers?')",
        "it asks 'who answers?': a spec must give its package an alc.llm of its own",
    ),
    "no assertion": ("lust.it('a', function() lust.expect(1).to.bo(1) end)", "lust has no assertion 'bo'"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "sentence"), BROKEN.values(), ids=BROKEN.keys())
async def test_broken_spec_is_a_failure_with_its_reason(context: PackageContext, code: str, sentence: str) -> None:
    report = await run_and_check(context, select_text(context, Spec("spec", code), []))

    assert (report["passed"], report["failed"], report["total"]) == (0, 1, 1)
    assert sentence in report["failures"][0]["error"]


@pytest.mark.slow
async def test_endless_specs_are_ended_and_waiting_ones_are_not_started(context: PackageContext) -> None:
    endless = "while true do end"
    spec_run = SpecRun([Spec(str(number), endless) for number in range(3)])
    report = await run_and_check(context, spec_run, within_s=1.0)

    assert (report["failed"], report["total"]) == (3, 3)
    errors = [failure["error"] for failure in report["failures"]]
    assert sum("had not ended after 1 s" in error for error in errors) == 2
    assert sum("was not started within 1 s" in error for error in errors) == 1


@pytest.mark.slow
async def test_what_a_spec_stores_is_removed_with_its_home(context: PackageContext) -> None:
    code = """
    local card = alc.card.create({ pkg = { name = 'spec' } })
    lust.it('stores', function()
      alc.state.set('k', 1)
      lust.expect(alc.state.get('k')).to.equal(1)
      lust.expect(alc.card.get(card.card_id)).to.exist()
    end)
    """
    report = await run_and_check(context, select_text(context, Spec("spec", code), []))

    assert (report["passed"], report["failed"]) == (1, 0)
    assert os.listdir(context.home.root) == ["packages"]


@pytest.mark.slow
async def test_tested_package_is_found_before_another_of_its_name(context: PackageContext, rig: Rig) -> None:
    mine = context.home.root / "mine" / "echo"
    (mine / "spec").mkdir(parents=True)
    (mine / "init.lua").write_text("return { run = print, where = 'mine' }")
    (mine / "spec" / "a.lua").write_text("""
    lust.it('is mine', function() lust.expect(require('echo').where).to.equal('mine') end)
    lust.it('finds others', function() lust.expect(require('other').run).to.be.a('function') end)
    """)
    report = await run_and_check(context, select_specs(context, str(mine), is_auto=False))

    assert (report["passed"], report["failed"]) == (2, 0)


@pytest.mark.slow
async def test_search_paths_come_first_and_a_missing_one_is_a_warning(context: PackageContext) -> None:
    (context.home.root / "near").mkdir()
    (context.home.root / "near" / "other.lua").write_text("return 'near'")
    spec = Spec("spec", "lust.it('a', function() lust.expect(require('other')).to.equal('near') end)")
    report = await run_and_check(context, select_text(context, spec, [str(context.home.root / "near"), "/nowhere"]))

    assert (report["passed"], report["failed"]) == (1, 0)
    assert report["resolved_search_paths"][0] == str(context.home.root / "near")
    assert report["search_path_warnings"] == ["search path /nowhere is not a directory"]


HOLDS = [
    "expect(1).to.equal(1)", "expect({a = {1}}).to.equal({a = {1}})", "expect(0.1 + 0.2).to.equal(0.3, 1e-9)",
    "expect({0.1 + 0.2}).to.equal({0.3}, 1e-9)", "expect(1).to.be(1)", "expect(1).to.be.truthy()",
    "expect(false).to.be.falsy()", "expect(0).to.exist()", "expect('a').to.be.a('string')",
    "expect({}).to.be.an('table')",
    "expect(2).to.be.gt(1)", "expect(2).to.be.gte(2)", "expect(1).to.be.lt(2)", "expect(1).to.be.lte(1)",
    "expect({1, {2}}).to.have({2})", "expect({a = false}).to.have_key('a')", "expect('abc').to.have_length(3)",
    "expect('abc').to.match('b.')", "expect(error).to.fail()",
]  # fmt: skip


@pytest.mark.slow
async def test_each_assertion_holds_and_its_opposite_fails(context: PackageContext) -> None:
    cases = [f"lust.it('{n}', function() {assertion} end)" for n, assertion in enumerate(HOLDS)]
    negated = [assertion.replace(".to", ".to_not") for assertion in HOLDS]
    opposites = [f"lust.it('not {n}', function() {assertion} end)" for n, assertion in enumerate(negated)]
    code = "\n".join(["local expect = lust.expect", *cases, *opposites])
    report = await run_and_check(context, select_text(context, Spec("spec", code), []))

    assert [failure["name"] for failure in report["failures"]] == [f"not {n}" for n in range(len(HOLDS))]
    assert report["passed"] == len(HOLDS)


async def test_spy_keeps_each_call_and_lets_it_through(context: PackageContext) -> None:
    code = """
    local box = { add = function(a, b) return a + b end }
    local spy = lust.spy(box, 'add')
    lust.it('takes the context of a function', function()
      lust.expect(box.add(1, 2)).to.equal(3)
      lust.expect(#spy).to.equal(1)
      lust.expect(spy[1]).to.equal({ 1, 2 })
    end)
    lust.it('is a function of its own', function()
      local alone = lust.spy(function() return 7 end)
      lust.expect(alone('x')).to.equal(7)
      lust.expect(alone[1]).to.equal({ 'x' })
    end)
    """
    report = await run_and_check(context, select_text(context, Spec("spec", code), []))

    assert (report["passed"], report["failed"]) == (2, 0)


async def test_only_files_with_a_text_in_their_path_are_selected(context: PackageContext) -> None:
    for name in ("one_spec.lua", "two_spec.lua", "deep/two.lua"):
        write(context, name, GOOD)

    assert [spec.file for spec in select_specs(context, "echo", words="two").specs] == [
        "spec/deep/two.lua",
        "spec/two_spec.lua",
    ]


def _files(context: PackageContext) -> PackageContext:
    write(context, "a.lua", GOOD)
    write(context, "b.lua", GOOD)
    return PackageContext(context.home, Limits(spec_files=1), context.environ)


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("eco", {}, "there is no package 'eco'; nearest: echo"),
        ("other", {}, "package 'other' has no specs: there is no *.py or *.lua in "),
        ("echo", {"words": "z"}, "there is no *.py or *.lua whose path contains 'z' in "),
        ("echo", {"spec_dir": "../other"}, "spec_dir '../other' leaves the package"),
        ("single", {}, "specs lie in a directory with init.lua"),
        ("echo", {}, "2 spec files, at most 1: select fewer with filter"),
    ],
)
async def test_specs_that_cannot_be_run_are_refused_with_one_sentence(
    context: PackageContext, name: str, more: dict[str, Any], sentence: str
) -> None:
    (context.home.packages / "single.lua").write_text(STRATEGY)
    with pytest.raises(Refused) as caught:
        select_specs(_files(context), name, **more)

    assert sentence in str(caught.value)


async def test_specs_in_python_run_beside_those_in_lua(context: PackageContext) -> None:
    root = context.home.packages / "snake"
    (root / "spec").mkdir(parents=True)
    (root / "__init__.py").write_text("import alc\n\n\ndef run(ctx):\n    return alc.llm(ctx['task'])\n")
    (root / "spec" / "a.py").write_text(
        "import snake\n\n\ndef test_it(model):\n    model.default = 'A'\n    assert snake.run({'task': 1}) == 'A'\n\n\n"
        "def test_fails(): assert False\n"
    )
    (root / "spec" / "b.lua").write_text("lust.it('holds', function() lust.expect(1).to.equal(1) end)")

    report = await run_and_check(context, select_specs(context, "snake"))

    assert (report["passed"], report["failed"], report["spec_files"]) == (2, 1, ["spec/a.py", "spec/b.lua"])
    assert report["failures"][0]["name"] == "test_fails"
