"""Specs of packages, run in workers of their own: what is counted, what is told, and that nothing of them stays."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.packages.catalog import PackageContext
from algocline_mcp.packages.specs import Spec, SpecRun, run_specs, select_specs, select_text
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
    """A home with the package `echo`, beside `other`; what is made for a while is made where the rig is."""
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


async def played(context: PackageContext, found: SpecRun, within_s: float = WAIT_S) -> dict[str, Any]:
    """And nothing is left of it: no process, no file outside of the home."""
    told = await run_specs(found, context.limits, context.environ, within_s)
    root = context.home.root.parent
    await until(lambda: not _processes(root))
    assert os.listdir(root) == [context.home.root.name]
    return told


def _processes(root: Path) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and f"ALC_HOME={root}".encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(name)
        except OSError:
            continue
    return found


async def test_cases_are_counted_and_what_failed_is_told_with_its_place(context: PackageContext) -> None:
    write(context, "echo_spec.lua", GOOD)
    write(context, "wrong_spec.lua", BAD)
    told = await played(context, select_specs(context, "echo"))

    assert {name: told[name] for name in ("passed", "failed", "pending", "total")} == {
        "passed": 2, "failed": 1, "pending": 1, "total": 4,
    }  # fmt: skip
    assert told["spec_files"] == ["spec/echo_spec.lua", "spec/wrong_spec.lua"]
    assert told["resolved_search_paths"] == [str(context.home.packages)]
    assert told["failures"] == [
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


@pytest.mark.parametrize(("code", "sentence"), BROKEN.values(), ids=BROKEN.keys())
async def test_spec_that_is_broken_is_a_failure_with_its_reason(
    context: PackageContext, code: str, sentence: str
) -> None:
    told = await played(context, select_text(context, Spec("spec", code), []))

    assert (told["passed"], told["failed"], told["total"]) == (0, 1, 1)
    assert sentence in told["failures"][0]["error"]


async def test_spec_that_does_not_end_is_ended_and_so_are_those_that_wait_behind_it(context: PackageContext) -> None:
    endless = "while true do end"
    found = SpecRun([Spec(str(number), endless) for number in range(3)])
    told = await played(context, found, within_s=1.0)

    assert (told["failed"], told["total"]) == (3, 3)
    reasons = [each["error"] for each in told["failures"]]
    assert sum("had not ended after 1 s" in each for each in reasons) == 2
    assert sum("was not started within 1 s" in each for each in reasons) == 1


async def test_what_a_spec_stores_is_gone_with_its_home(context: PackageContext) -> None:
    code = """
    local card = alc.card.create({ pkg = { name = 'spec' } })
    lust.it('stores', function()
      alc.state.set('k', 1)
      lust.expect(alc.state.get('k')).to.equal(1)
      lust.expect(alc.card.get(card.card_id)).to.exist()
    end)
    """
    told = await played(context, select_text(context, Spec("spec", code), []))

    assert (told["passed"], told["failed"]) == (1, 0)
    assert os.listdir(context.home.root) == ["packages"]


async def test_package_that_is_tested_is_found_before_another_of_its_name(context: PackageContext, rig: Rig) -> None:
    mine = context.home.root / "mine" / "echo"
    (mine / "spec").mkdir(parents=True)
    (mine / "init.lua").write_text("return { run = print, where = 'mine' }")
    (mine / "spec" / "a.lua").write_text("""
    lust.it('is mine', function() lust.expect(require('echo').where).to.equal('mine') end)
    lust.it('finds others', function() lust.expect(require('other').run).to.be.a('function') end)
    """)
    told = await played(context, select_specs(context, str(mine), is_auto=False))

    assert (told["passed"], told["failed"]) == (2, 0)


async def test_search_paths_come_first_and_one_that_is_none_is_told(context: PackageContext) -> None:
    (context.home.root / "near").mkdir()
    (context.home.root / "near" / "other.lua").write_text("return 'near'")
    spec = Spec("spec", "lust.it('a', function() lust.expect(require('other')).to.equal('near') end)")
    told = await played(context, select_text(context, spec, [str(context.home.root / "near"), "/nowhere"]))

    assert (told["passed"], told["failed"]) == (1, 0)
    assert told["resolved_search_paths"][0] == str(context.home.root / "near")
    assert told["search_path_warnings"] == ["search path /nowhere is not a directory"]


HOLDS = [
    "expect(1).to.equal(1)", "expect({a = {1}}).to.equal({a = {1}})", "expect(0.1 + 0.2).to.equal(0.3, 1e-9)",
    "expect({0.1 + 0.2}).to.equal({0.3}, 1e-9)", "expect(1).to.be(1)", "expect(1).to.be.truthy()",
    "expect(false).to.be.falsy()", "expect(0).to.exist()", "expect('a').to.be.a('string')",
    "expect({}).to.be.an('table')",
    "expect(2).to.be.gt(1)", "expect(2).to.be.gte(2)", "expect(1).to.be.lt(2)", "expect(1).to.be.lte(1)",
    "expect({1, {2}}).to.have({2})", "expect({a = false}).to.have_key('a')", "expect('abc').to.have_length(3)",
    "expect('abc').to.match('b.')", "expect(error).to.fail()",
]  # fmt: skip


async def test_each_assertion_holds_and_its_opposite_fails(context: PackageContext) -> None:
    cases = [f"lust.it('{n}', function() {each} end)" for n, each in enumerate(HOLDS)]
    opposite = [f"lust.it('not {n}', function() {each.replace('.to', '.to_not')} end)" for n, each in enumerate(HOLDS)]
    code = "\n".join(["local expect = lust.expect", *cases, *opposite])
    told = await played(context, select_text(context, Spec("spec", code), []))

    assert [each["name"] for each in told["failures"]] == [f"not {n}" for n in range(len(HOLDS))]
    assert told["passed"] == len(HOLDS)


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
    told = await played(context, select_text(context, Spec("spec", code), []))

    assert (told["passed"], told["failed"]) == (2, 0)


async def test_only_files_with_a_text_in_their_path_are_chosen(context: PackageContext) -> None:
    for name in ("one_spec.lua", "two_spec.lua", "deep/two.lua"):
        write(context, name, GOOD)

    assert [each.file for each in select_specs(context, "echo", words="two").specs] == [
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
        ("other", {}, "package 'other' has no specs: there is no *.lua in "),
        ("echo", {"words": "z"}, "there is no *.lua whose path contains 'z' in "),
        ("echo", {"spec_dir": "../other"}, "spec_dir '../other' leaves the package"),
        ("single", {}, "specs lie in a directory with init.lua"),
        ("echo", {}, "2 spec files, at most 1: select fewer with filter"),
    ],
)
async def test_what_cannot_be_run_gets_one_sentence(
    context: PackageContext, name: str, more: dict[str, Any], sentence: str
) -> None:
    (context.home.packages / "single.lua").write_text(STRATEGY)
    with pytest.raises(Refused) as caught:
        select_specs(_files(context), name, **more)

    assert sentence in str(caught.value)
