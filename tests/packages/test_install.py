"""Installed packages: what arrives, what is refused, what a killed install leaves, and strategies run from them."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history import run_stats
from algocline_mcp.packages import check, installed
from algocline_mcp.packages import install as installation
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from algocline_mcp.packages.lookup import PUBLISHED, SearchPath, find_strategy
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import Strategy, run_via_pool, view_via_pool
from tests.rig.rig import LIMIT_S, SOON_S, WAIT_S, Rig, finish, has_ended, kill, run, say

pytestmark = pytest.mark.anyio
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
RUNS = "return {meta = {version = '%s'}, run = function(ctx) return alc.llm(ctx.task) .. '%s' end}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A collection of two packages, and what else lies in a repository."""
    root = tmp_path / "source"
    for name, files in {"one": ("init.lua", "sub/part.lua"), "two": ("init.lua",), "docs": ("page.md",)}.items():
        for each in files:
            (root / name / each).parent.mkdir(parents=True, exist_ok=True)
            (root / name / each).write_text(RUNS % (1, name))
    (root / "README.md").write_text("no package")
    return root


def install(home: Home, source: Path | str, **options: Any) -> dict[str, Any]:
    limits = options.pop("limits", Limits())

    async def play() -> dict[str, Any]:
        return await installation.install_package(home, limits, str(source), **options)

    return anyio.run(play)


def change(what: Any, home: Home, *given: Any, **options: Any) -> dict[str, Any]:
    async def play() -> dict[str, Any]:
        told: dict[str, Any] = await what(home, Limits(), *given, **options)
        return told

    return anyio.run(play)


def refused(call: Any, *given: Any, **options: Any) -> str:
    with pytest.raises(Refused) as caught:
        call(*given, **options)
    return str(caught.value)


def there(home: Home) -> dict[str, str]:
    """Every name with the text of its package."""
    names = [each for each in os.listdir(home.packages) if not each.startswith(".")] if home.packages.exists() else []
    return {name: (home.packages / name / "init.lua").read_text() for name in sorted(names)}


def stores(home: Home) -> list[str]:
    return sorted(each for each in os.listdir(home.packages / ".store") if each != "lock")


# ── installing ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_collection_arrives_whole_as_plain_files_of_ours(home: Home, source: Path) -> None:
    told = install(home, source)

    assert told == {"status": "installed", "installed": ["one", "two"], "source": str(source)}
    assert there(home) == {name: RUNS % (1, name) for name in ("one", "two")}
    assert (home.packages / "one" / "sub" / "part.lua").stat().st_mode & 0o777 == 0o600
    assert installed.provenance(home, "one")["source"] == str(source)
    assert len(stores(home)) == 1


def test_what_is_there_stays_unless_it_is_forced(home: Home, source: Path) -> None:
    install(home, source / "one")
    (source / "one" / "init.lua").write_text("return 2")

    assert "Package 'one' is installed already: force replaces it" in refused(install, home, source / "one")
    assert install(home, source)["skipped"] == ["one"]
    assert there(home)["one"] == RUNS % (1, "one")
    assert install(home, source, force=True)["installed"] == ["one", "two"]
    assert there(home)["one"] == "return 2"
    assert len(stores(home)) == 1, "what nothing leads to any more is removed"


def test_a_directory_made_by_hand_is_never_touched(home: Home, source: Path) -> None:
    (home.packages / "one").mkdir(parents=True)
    (home.packages / "one" / "init.lua").write_text("mine")

    assert install(home, source, force=True)["skipped"] == ["one"]
    assert "is a directory made by hand: move" in refused(install, home, source / "one", force=True)
    assert "was put there by hand" in refused(change, installation.remove_package, home, "one")
    assert "was put there by hand" in refused(change, installation.unlink_package, home, "one")
    assert "exists already: move" in refused(change, installation.link_package, home, str(source / "one"), force=True)
    assert there(home)["one"] == "mine"


def test_a_single_package_may_have_another_name(home: Home, source: Path) -> None:
    assert install(home, source / "one", name="uno")["installed"] == ["uno"]
    assert "name is only for a single package, and the source has 2" in refused(install, home, source, name="x")


def test_links_inside_the_source_become_files(home: Home, source: Path) -> None:
    (source / "outside.lua").write_text("shared")
    (source / "one" / "outside.lua").symlink_to("../outside.lua")
    (source / "one" / "all").symlink_to("../two")
    install(home, source)

    assert not (home.packages / "one" / "outside.lua").is_symlink()
    assert (home.packages / "one" / "outside.lua").read_text() == "shared"
    assert (home.packages / "one" / "all" / "init.lua").read_text() == RUNS % (1, "two")


def _escape(source: Path) -> None:
    (source / "two" / "x.lua").symlink_to("/etc/passwd")


def _escape_by_directory(source: Path) -> None:
    (source / "two" / "x").symlink_to("../..")


def _nowhere(source: Path) -> None:
    (source / "two" / "x.lua").symlink_to("gone.lua")


def _round(source: Path) -> None:
    (source / "two" / "x").symlink_to(".")


def _pipe(source: Path) -> None:
    os.mkfifo(source / "two" / "x.lua")


def _package_elsewhere(source: Path) -> None:
    (source.parent / "three").mkdir()
    (source.parent / "three" / "init.lua").write_text("3")
    (source / "three").symlink_to("../three")


@pytest.mark.parametrize(
    ("spoil", "limits", "sentence"),
    [
        (_escape, Limits(), "two/x.lua is a link that leaves the source"),
        (_escape_by_directory, Limits(), "two/x is a link that leaves the source"),
        (_package_elsewhere, Limits(), "three is a link that leaves the source"),
        (_nowhere, Limits(), "two/x.lua is a link to nothing"),
        (_round, Limits(), "lies more than 32 directories deep"),
        (_pipe, Limits(), "two/x.lua is not a regular file"),
        (None, Limits(package_files=2), "more than 2 files: install a part, or raise ALC_PACKAGE_FILES"),
        (None, Limits(package_bytes=200), "more than 200 bytes: install a part, or raise ALC_PACKAGE_BYTES"),
    ],
)
def test_a_source_that_is_no_good_leaves_nothing(
    home: Home, source: Path, spoil: Any, limits: Limits, sentence: str
) -> None:
    if spoil is not None:
        spoil(source)

    assert sentence in refused(install, home, source, limits=limits)
    assert there(home) == {}
    assert stores(home) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "is neither a git URL nor a path"),
        ("cot", "is neither a git URL nor a path"),
        ("--upload-pack=x", "is neither a git URL nor a path"),
        ("ext::sh -c true", "is neither a git URL nor a path"),
        ("https://user:secret@nowhere.invalid/x y", "'https://nowhere.invalid/x y' is neither"),
        ("/nowhere/at/all", "cannot read /nowhere/at/all: No such file or directory"),
        ("/dev/null", "cannot read /dev/null: Not a directory"),
        ("/dev", "has no package: neither init.lua nor a directory with one"),
    ],
)
def test_a_source_that_is_none_gets_one_sentence(home: Home, given: str, sentence: str) -> None:
    assert sentence in refused(install, home, given)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", ".store", "x" * 65, "é"])
def test_a_name_that_require_would_not_take_is_refused(home: Home, source: Path, name: str) -> None:
    for call in (
        lambda: install(home, source / "one", name=name),
        lambda: change(installation.remove_package, home, name),
        lambda: change(installation.unlink_package, home, name),
        lambda: change(installation.link_package, home, str(source / "one"), name=name),
    ):
        assert "is not a package name" in refused(call)


# ── git ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def repository(source: Path) -> Path:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *who, *arguments], cwd=source, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "1")
    git("tag", "v1")
    (source / "one" / "init.lua").write_text(RUNS % (2, "one"))
    git("commit", "-qam", "2")
    return source


@needs_git
def test_git_brings_the_head_or_the_revision_that_was_named(home: Home, repository: Path) -> None:
    url = repository.as_uri()
    told = install(home, url)

    assert told["installed"] == ["one", "two"]
    assert len(told["commit"]) == 40
    assert there(home)["one"] == RUNS % (2, "one")
    assert install(home, f"{url}#v1", force=True)["commit"] != told["commit"]
    assert there(home)["one"] == RUNS % (1, "one")
    assert installed.provenance(home, "one")["source"] == f"{url}#v1"
    assert install(home, f"{url}#{told['commit']}", force=True)["commit"] == told["commit"]
    assert not list(home.packages.glob("**/.git")), "the history stays where it was"


@needs_git
def test_what_is_broken_comes_again_from_its_commit_and_its_neighbours_stay(home: Home, repository: Path) -> None:
    install(home, f"{repository.as_uri()}#v1")
    install(home, repository / "two", force=True)
    (home.packages / "one" / "init.lua").unlink()
    (home.packages / "two" / "init.lua").unlink()
    shutil.rmtree(repository / "two")
    (home.packages / "by_hand").mkdir()
    (home.packages / "lost").symlink_to(".store/gone/lost")
    context = PackageContext(home, Limits(), {})

    async def play() -> dict[str, Any]:
        return await check.repair(context, "", 20.0)

    told = anyio.run(play)
    assert (told["repaired"], (home.packages / "one" / "init.lua").read_text()) == (["one"], RUNS % (1, "one"))
    assert [each["name"] for each in told["failed"]] == ["two"]
    assert {each["name"]: each["reason"].partition(":")[0] for each in told["unrepairable"]} == {
        "by_hand": "it was put there by hand",
        "lost": "its source is not recorded",
    }


@needs_git
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda url: f"{url}-gone", "git clone failed: file://"),
        (lambda url: f"{url}#nowhere", "couldn't find remote ref nowhere"),
        (lambda url: f"{url}#--upload-pack=touch", "git clone failed"),
    ],
)
def test_what_git_cannot_bring_is_one_sentence(home: Home, repository: Path, make: Any, sentence: str) -> None:
    said = refused(install, home, make(repository.as_uri()))

    assert sentence in said
    assert "\n" not in said
    assert there(home) == {}
    assert stores(home) == []


@pytest.fixture
def stuck_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that hangs with a child of its own, and tells the pids of both by a pipe."""
    told = tmp_path / "pids"
    os.mkfifo(told)
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nsleep 600 & echo $$ $! > "{told}"; wait\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return told


def test_a_git_that_hangs_is_ended_with_its_children(home: Home, stuck_git: Path) -> None:
    pids: list[int] = []

    async def play() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            await installation.install_package(home, Limits(), "https://x.invalid/x", fetch_s=2.0)

    async def hear() -> None:
        text = await anyio.to_thread.run_sync(stuck_git.read_text)
        pids.extend(map(int, text.split()))

    with pytest.raises(BaseExceptionGroup) as caught:
        anyio.run(play)
    assert caught.group_contains(Refused, match=r"git clone timed out after 2s: https://x.invalid/x")
    assert len(pids) == 2
    assert all(has_ended(pid, LIMIT_S) for pid in pids)
    assert stores(home) == []


@needs_git
def test_a_git_ends_with_the_process_that_asked_for_it(home: Home, stuck_git: Path) -> None:
    command = [sys.executable, "-m", "algocline_mcp", "pkg", "install", "https://x.invalid/x"]
    environ = {**os.environ, "ALC_HOME": str(home.root)}
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as asking:
        pids = [int(pid) for pid in stuck_git.read_text().split()]
        asking.kill()

    assert len(pids) == 2
    assert all(has_ended(pid, LIMIT_S) for pid in pids)
    assert len(stores(home)) == 1
    with pytest.raises(Refused, match="timed out"):
        install(home, "https://x.invalid/x", fetch_s=0.05)
    assert stores(home) == []


# ── removing, linking ─────────────────────────────────────────────────────────────────────────────────────


def test_a_link_shows_what_is_there_now(home: Home, source: Path) -> None:
    told = change(installation.link_package, home, str(source))
    (source / "one" / "init.lua").write_text("now")

    assert told == {"status": "linked", "linked": ["one", "two"], "source": str(source)}
    assert there(home)["one"] == "now"
    assert 'action="unlink", name="one"' in refused(change, installation.remove_package, home, "one")
    assert 'action="unlink", name="one"' in refused(install, home, source / "one", force=True)
    assert change(installation.unlink_package, home, "one")["source"] == str(source / "one")
    assert list(there(home)) == ["two"]
    assert (source / "one" / "init.lua").exists()


def test_removing_takes_the_files_and_leaves_the_others(home: Home, source: Path) -> None:
    install(home, source)

    assert 'action="remove", name="one"' in refused(change, installation.unlink_package, home, "one")
    change(installation.remove_package, home, "one")
    assert list(there(home)) == ["two"]
    assert not list(home.packages.glob(".store/*/one"))
    change(installation.remove_package, home, "two")
    assert (there(home), stores(home)) == ({}, [])
    assert "is not installed here" in refused(change, installation.remove_package, home, "two")


def test_a_change_waits_a_bounded_time_for_another_process(home: Home, source: Path) -> None:
    install(home, source)
    with installed.exclusive_change(home, Limits()):
        said = refused(install, home, source, force=True, limits=Limits(package_lock_s=0.05))

    assert "are being changed by another process" in said


# ── killed ────────────────────────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    pass


def _die(*given: Any) -> None:
    raise Killed


def test_an_install_that_is_killed_before_its_rename_has_not_happened(
    home: Home, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("algocline_mcp.packages.installed.os.sync", _die)
        patch.setattr(installed.Staging, "close", lambda staging: os.close(staging._fd))  # as at the end of a process
        with pytest.raises(Killed):
            install(home, source)

    assert there(home) == {}
    assert len(stores(home)) == 1, "what it had brought lies there"
    install(home, source / "one")
    assert list(there(home)) == ["one"]
    assert len(stores(home)) == 1, "and the next change removes it"


def test_an_install_that_is_killed_after_its_rename_has_happened(
    home: Home, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = installed._replace_link

    def once(home: Home, name: str, target: str) -> None:
        if name == "two":
            raise Killed
        point(home, name, target)

    with monkeypatch.context() as patch:
        patch.setattr(installed, "_replace_link", once)
        with pytest.raises(Killed):
            install(home, source)

    assert list(there(home)) == ["one"]
    lines = catalog(PackageContext(home, Limits(), {}), "packages", CatalogQuery())["packages"]
    assert [line["name"] for line in lines] == ["one", "two"], "whoever looks finishes it"
    assert list(there(home)) == ["one", "two"]
    assert not list(home.packages.glob(".store/*/pending"))


# ── which one it is ───────────────────────────────────────────────────────────────────────────────────────


def test_the_first_place_in_order_wins(home: Home, source: Path, tmp_path: Path) -> None:
    user, extra, project = tmp_path / "user", tmp_path / "extra", tmp_path / "project"
    environ = {"HOME": str(user), "ALC_PACKAGES_PATH": f"{tmp_path / 'none'}:{extra}"}
    found = []
    for root in (user / ".algocline" / "packages", home.packages, extra):
        (root / "p").mkdir(parents=True)
        (root / "p" / "init.lua").write_text("return {}")
        search_path = SearchPath.of(home, environ, project)
        found.append([(each.origin, each.file) for each in (search_path.find("p"), *search_path.all()) if each])
    (project / "elsewhere").mkdir(parents=True)
    (project / "alc.local.toml").write_text('[packages]\np = {path = "elsewhere"}')
    package = SearchPath.of(home, environ, project).find("p")

    assert [[origin for origin, _ in each] for each in found] == [["original"] * 2, ["placed"] * 2, ["path"] * 2]
    assert package is not None
    assert (package.origin, package.file) == ("project", project / "elsewhere" / "init.lua")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("on", "Strategy 'on' is not installed. Nearest: one. All: alc_catalog(kind=\"strategies\")"),
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
    for each, content in {"lib": b"return {}", "binary": b"\xff", "long": b" " * 501}.items():
        (home.packages / each).mkdir()
        (home.packages / each / "init.lua").write_bytes(content)
    (tmp_path / "alc.toml").write_text('[packages]\ngit = {git = "https://x.org/g", rev = "v1"}')

    assert sentence in refused(find_strategy, SearchPath.of(home, {}, tmp_path), name, 500)


def test_where_nothing_is_installed_the_published_ones_are_named(home: Home) -> None:
    assert PUBLISHED in refused(find_strategy, SearchPath.of(home, {}, None), "cot", 500)
    assert PUBLISHED in catalog(PackageContext(home, Limits(), {}), "strategies", CatalogQuery())["next"]


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────

ASKS = """\
local part = require("one.part")
return { run = function(ctx)
  local first = alc.llm("first " .. ctx.task)
  return { first = first, second = alc.llm(part.ask), own = require("one") ~= nil, late = require("one.late").text }
end }"""


async def test_a_session_keeps_the_strategy_it_began_with(rig: Rig, tmp_path: Path) -> None:
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
    (run_of,) = [each for each in run_stats.runs(rig.home) if each.sid == reply.session_id]
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


# ── the catalog ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_catalog_tells_what_past_runs_took(rig: Rig) -> None:
    code = RUNS % (1, "") + "\n"
    (rig.home.packages / "one").mkdir(parents=True)
    (rig.home.packages / "one" / "init.lua").write_text(code)
    async with rig.pool() as pool:
        for answer in ("a", "b" * 400, "c" * 4000):
            reply = await run_via_pool(pool, Strategy(code, "one", {"task": "?"}, name="one"), wait_s=WAIT_S)
            await finish(pool, reply, answer)
            await pool.wait_for_exit(reply.session_id, SOON_S)  # its worker has put its journal away by then
        await run_via_pool(pool, Strategy("return { run = error }", "one", name="one"), wait_s=WAIT_S)
        (line,) = catalog(PackageContext(rig.home, Limits(), {}), "strategies", CatalogQuery())["strategies"]

    assert line == {"name": "one", "about": "", "runs": 3, "prompts": 1, "tokens": 101}


def test_figures_look_at_a_bounded_number_of_journals(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.finished.mkdir(parents=True)
    for number in range(5):
        (home.finished / f"p-{number}-0123456789abcdef.journal").write_bytes(b"broken\n")
    read: list[str] = []
    monkeypatch.setattr(run_stats, "NEWEST", 3)
    monkeypatch.setattr(run_stats, "_read", lambda path: read.append(path.name))

    assert run_stats.runs(home) == []
    assert run_stats.runs(home) == []
    assert read == [f"p-{number}-0123456789abcdef.journal" for number in (4, 3, 2)]


async def test_state_is_shown_as_it_was_stored(rig: Rig) -> None:
    context = PackageContext(rig.home, Limits(), {})
    assert catalog(context, "state", CatalogQuery()) == {"state": [], "total": 0}
    code = "for i = 1, 3 do alc.state.set('k' .. i, {n = i}) end alc.state.set('long', ('x'):rep(70000))"
    async with rig.pool() as pool:
        await run(pool, code)
        await run(pool, "alc.state.set('a/b', 1)", ctx={"_ns": "other"})

    assert catalog(context, "state", CatalogQuery())["state"] == [
        {"name": "default", "keys": 4},
        {"name": "other", "keys": 1},
    ]
    page = catalog(context, "state", CatalogQuery("default", limit=2))
    assert page == {
        "state": [{"key": "k1", "value": '{"n":1}'}, {"key": "k2", "value": '{"n":2}'}],
        "namespace": "default",
        "total": 4,
        "cursor": "k2",
    }
    assert [each["key"] for each in catalog(context, "state", CatalogQuery("default", cursor="k2"))["state"]] == [
        "k3",
        "long",
    ]
    assert [each["key"] for each in catalog(context, "state", CatalogQuery("default", words="ON"))["state"]] == ["long"]
    assert catalog(context, "state", CatalogQuery("default/k1"))["value"] == {"n": 1}
    assert catalog(context, "state", CatalogQuery("other/a/b"))["value"] == 1
    cut = catalog(context, "state", CatalogQuery("default/long"))
    assert (len(cut["value"]), cut["warnings"]) == (60_000, ["cut: the value has 70002 characters as JSON"])
    assert "has no key 'k9'" in refused(catalog, context, "state", CatalogQuery("default/k9"))


def test_cards_are_shown_newest_first_and_whole_by_their_id(home: Home) -> None:
    context = PackageContext(home, Limits(), {})
    assert catalog(context, "cards", CatalogQuery()) == {"cards": [], "total": 0}
    home.state_database.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(home.state_database)) as database:
        database.execute("CREATE TABLE cards (card_id TEXT, created_at TEXT, summary TEXT, card TEXT)")
        for number in range(3):
            line = {"card_id": f"c{number}", "pkg": "cot" if number else "tot", "pass_rate": number / 2}
            row = (
                f"c{number}",
                f"2026-01-0{number + 1}",
                json.dumps(line),
                json.dumps(line | {"stats": {"n": number}}),
            )
            database.execute("INSERT INTO cards VALUES (?, ?, ?, ?)", row)
        database.commit()

    def ids(**query: Any) -> tuple[list[str], int, str | None]:
        page = catalog(context, "cards", CatalogQuery(**query))
        return [line["card_id"] for line in page["cards"]], page["total"], page.get("cursor")

    assert ids() == (["c2", "c1", "c0"], 3, None)
    assert ids(limit=2) == (["c2", "c1"], 3, "c1")
    assert ids(limit=2, cursor="c1") == (["c0"], 3, None)
    assert ids(words="cot") == (["c2", "c1"], 2, None)
    assert catalog(context, "cards", CatalogQuery("c1"))["card"]["stats"] == {"n": 1}
    assert "there is no card 'c9'; nearest: c2, c1, c0; alc_catalog(kind=\"cards\") lists all" in refused(
        catalog, context, "cards", CatalogQuery("c9")
    )


def test_a_database_that_is_none_is_told_with_its_cure(home: Home) -> None:
    home.state_database.parent.mkdir(parents=True)
    home.state_database.write_bytes(b"no database at all" * 300)

    for kind in ("state", "cards"):
        with pytest.raises(StorageFailed, match=r"cannot read .*state.db: file is not a database; restore it"):
            catalog(PackageContext(home, Limits(), {}), kind, CatalogQuery())


def test_a_page_goes_on_where_it_ended(home: Home) -> None:
    for name in "abcde":
        (home.packages / name).mkdir(parents=True)
        text = f"return {{ meta = {{ description = 'the {name} {'vowel' if name in 'ae' else 'other'}' }}, run = 1 }}"
        (home.packages / name / "init.lua").write_text(text)
    context = PackageContext(home, Limits(), {})

    def names(**query: Any) -> tuple[list[str], int, str | None]:
        page = catalog(context, "strategies", CatalogQuery(**query))
        return [line["name"] for line in page["strategies"]], page["total"], page.get("cursor")

    assert names(limit=2) == (["a", "b"], 5, "b")
    assert names(limit=3, cursor="b") == (["c", "d", "e"], 5, None)
    assert names(words="VOWEL the") == (["a", "e"], 2, None)
    assert names(words="nothing") == ([], 0, None)
    assert catalog(context, "strategies", CatalogQuery("a"))["run"].startswith('alc_run(strategy="a"')
    assert "nearest: a" in refused(catalog, context, "packages", CatalogQuery("aa"))
