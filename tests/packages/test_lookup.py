"""Lookup of packages, and sessions of the strategies and packages that are found."""

import json
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.history import run_stats
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from algocline_mcp.packages.lookup import PUBLISHED, SearchPath, find_strategy, stamp
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import Strategy, run_via_pool, view_via_pool
from tests.packages.steps import install, refusal
from tests.rig.rig import SOON_S, WAIT_S, Rig, finish, kill, run, say

pytestmark = pytest.mark.anyio


def test_the_first_directory_of_the_search_path_wins(home: Home, source: Path, tmp_path: Path) -> None:
    user, extra, project = tmp_path / "user", tmp_path / "extra", tmp_path / "project"
    environ = {"HOME": str(user), "ALC_PACKAGES_PATH": f"{tmp_path / 'none'}:{extra}"}
    origins = []
    for root in (user / ".algocline" / "packages", home.packages, extra):
        (root / "p").mkdir(parents=True)
        (root / "p" / "init.lua").write_text("return {}")
        search_path = SearchPath.of(home, environ, project)
        origins.append(
            [
                package.origin
                for package in (search_path.find("p"), *search_path.all())
                if package and package.name == "p"
            ]
        )
    (project / "elsewhere").mkdir(parents=True)
    (project / "alc.local.toml").write_text('[packages]\np = {path = "elsewhere"}')
    package = SearchPath.of(home, environ, project).find("p")

    assert origins == [["original"] * 2, ["placed"] * 2, ["path"] * 2]
    assert package is not None
    assert (package.origin, package.file) == ("project", project / "elsewhere" / "init.lua")


@pytest.mark.parametrize("is_declared", [True, False], ids=["of the project", "in the home"])
def test_stamp_sees_an_edit_inside_a_package(home: Home, tmp_path: Path, is_declared: bool) -> None:
    project = tmp_path / "project"
    package = (tmp_path if is_declared else home.packages) / "p"
    for directory in (project, package):
        directory.mkdir(parents=True)
    (project / "alc.toml").write_text(f'[packages]\np = {{path = "{package}"}}\n' if is_declared else "")
    (package / "init.lua").write_text("return {meta = {description = 'one'}}")
    before = stamp(home, {}, project)
    assert stamp(home, {}, project) == before

    (package / "init.lua").write_text("return {meta = {description = 'another'}}")

    assert stamp(home, {}, project) != before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("on", "Strategy 'on' is not installed. Nearest: one. To run a file of your own, give code_file. All: "),
        ("../one", "Strategy '../one' is not installed."),
        ("git", "The project names its source; install it with: alc pkg install https://x.org/g#v1 --name git"),
        ("lib", "Package 'lib' is a library package: it has no run(ctx)"),
        ("binary", "init.lua: byte 0 is not UTF-8; repair the file, or remove it"),
        ("long", "it has more than 500 bytes"),
    ],
)
def test_a_strategy_that_cannot_be_run_is_refused_with_the_cure(
    home: Home, source: Path, tmp_path: Path, name: str, sentence: str
) -> None:
    install(home, source)
    for package, content in {"lib": b"return {}", "binary": b"\xff", "long": b" " * 501}.items():
        (home.packages / package).mkdir()
        (home.packages / package / "init.lua").write_bytes(content)
    (tmp_path / "alc.toml").write_text('[packages]\ngit = {git = "https://x.org/g", rev = "v1"}')

    assert sentence in refusal(find_strategy, SearchPath.of(home, {}, tmp_path), name, 500)


def test_built_in_packages_come_last(home: Home) -> None:
    search_path = SearchPath.of(home, {}, None)
    built_in = search_path.find("vote")
    (home.packages / "vote").mkdir(parents=True)
    (home.packages / "vote" / "init.lua").write_text("return {}")
    own = search_path.find("vote")

    assert built_in is not None
    assert own is not None
    assert (built_in.origin, own.origin) == ("built in", "placed")
    assert [package.origin for package in search_path.all() if package.name == "vote"] == ["placed"]


def test_without_installed_strategies_the_published_ones_are_named(home: Home) -> None:
    assert PUBLISHED in refusal(find_strategy, SearchPath.of(home, {}, None), "cot", 500)
    assert PUBLISHED in catalog(PackageContext(home, Limits(), {}), "strategies", CatalogQuery())["next"]


RUNS_PYTHON = 'meta = {"version": "3"}\n\n\ndef run(ctx):\n    return ctx["task"]\n'


@pytest.mark.parametrize(
    ("files", "file", "language"),
    [
        (["m.py"], "m.py", "python"),
        (["m/__init__.py"], "m/__init__.py", "python"),
        (["m/__init__.py", "m/init.lua"], "m/init.lua", "lua"),
        (["m.py", "m.lua", "m/init.lua"], "m.lua", "lua"),
        (["m/__init__.py", "m.py"], "m.py", "python"),
    ],
)
def test_a_package_is_found_in_either_language_as_a_session_finds_it(
    home: Home, files: list[str], file: str, language: str
) -> None:
    for name in files:
        path = home.packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RUNS_PYTHON if path.suffix == ".py" else "return {run = function(ctx) return 1 end}")
    search_path = SearchPath.of(home, {}, None)

    source, _, metadata = find_strategy(search_path, "m", 500)

    assert (source.file, source.language.name) == (home.packages / file, language)
    assert source.file in [package.file for package in search_path.all()]
    assert metadata.version == ("3" if language == "python" else None)


def test_a_library_in_python_is_refused_with_its_import(home: Home) -> None:
    home.packages.mkdir(parents=True)
    (home.packages / "m.py").write_text("x = 1")

    assert "Use it by import m in code of your own" in refusal(find_strategy, SearchPath.of(home, {}, None), "m", 500)


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────

ASKS = """\
local part = require("one.part")
return { run = function(ctx)
  local first = alc.llm("first " .. ctx.task)
  return { first = first, second = alc.llm(part.ask), own = require("one") ~= nil, late = require("one.late").text }
end }"""


async def test_a_session_keeps_the_strategy_it_started_with(rig: Rig, tmp_path: Path) -> None:
    files = {"init.lua": ASKS, "part.lua": "return { ask = 'second' }", "late.lua": "return { text = 'late' }"}
    root = rig.home.packages / "one"
    root.mkdir(parents=True)
    for name, text in files.items():
        (root / name).write_text(text)
    async with rig.pool() as pool:
        chosen = Strategy(ASKS, "one/init.lua", {"task": "x"}, name="one")
        reply = await run_via_pool(pool, chosen, wait_s=WAIT_S)
        for name in ("init.lua", "part.lua"):
            (root / name).write_text("error('another version')")
        await kill(rig.keeper(reply.session_id))
        reply = await say(pool, reply.session_id, "q-0", "A")
        assert reply.result["prompt"] == "second"
        result = await finish(pool, reply, "B")
        await pool.wait_for_exit(reply.session_id, SOON_S)  # its worker has put its journal away by then
        view = await view_via_pool(pool, reply.session_id, "code")
        branch = await branch_via_pool(pool, reply.session_id, Branch(at="q-1", response="C"), wait_s=WAIT_S)

    assert result["result"] == {"first": "A", "second": "B", "own": True, "late": "late"}
    assert (view["code"], view["chunk"], view["modules"]) == (ASKS, "one/init.lua", ["one.part", "one.late"])
    assert branch.result["result"]["second"] == "C"
    (run_of,) = [past for past in run_stats.runs(rig.home) if past.sid == reply.session_id]
    assert (run_of.strategy, run_of.title) == ("one", "one: x")


async def test_a_package_of_the_project_is_found_under_its_name_and_kept(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "init.lua").write_text("return { ask = 'variant' }")
    code = "return alc.llm(require('mine').ask)"
    async with rig.pool() as pool:
        reply = await run(pool, code, variants={"mine": str(tmp_path / "next")})
        await kill(rig.keeper(reply.session_id))
        assert (await finish(pool, reply))["result"] == "end"
        edited = Branch(code="return require('mine').ask")
        branch = await branch_via_pool(pool, reply.session_id, edited, wait_s=WAIT_S)

    assert (reply.result["prompt"], branch.result["result"]) == ("variant", "variant")
    assert json.loads(json.dumps(rig.records(reply.session_id, "header")[0]["variants"])) == {
        "mine": str(tmp_path / "next")
    }
