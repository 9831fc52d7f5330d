"""The home: its files and their modes, and the error where a home cannot be used."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, HomeUnusable, ProgramReplaced, Refused
from algocline_mcp.pool import spawn
from algocline_mcp.pool.dispatch import Pool, list_via_pool, status_via_pool
from algocline_mcp.storage import journal_lines
from tests.rig.rig import ASK_ONCE, ASK_TWICE, ORDINARY, Program, Rig, run, say

pytestmark = pytest.mark.anyio


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_directories_are_0700_and_files_0600_whatever_the_umask(rig: Rig, mask: int) -> None:
    before = os.umask(mask)
    try:
        async with rig.pool() as pool:
            await run(pool, ASK_ONCE)
            await run(pool, "return 1")
            modes = {}
            for path in [rig.home.root, *rig.home.root.rglob("*")]:
                with suppress(FileNotFoundError):  # the finished session is being archived
                    modes[path] = path.lstat().st_mode & 0o777
    finally:
        os.umask(before)

    wrong = {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)}
    assert wrong == {}
    assert len(modes) > 10


@pytest.mark.slow
@pytest.mark.parametrize("where", ["", "state/pool", "state/sessions"])
async def test_home_that_cannot_be_written_is_refused_with_the_cure(rig: Rig, where: str) -> None:
    async with rig.pool():
        pass
    rig.home.log.rmdir()
    directory = rig.home.root / where
    directory.chmod(0o500)
    with Program(rig, "server.py", prefix=ORDINARY) as server:
        reply = server.greeting
    directory.chmod(0o700)

    assert reply["code"] == "home_unusable"
    assert reply["error"].startswith(f"ALC_HOME={rig.home.root} cannot hold sessions: ")
    assert "set ALC_HOME elsewhere" in reply["error"]
    assert list(rig.home.sessions.glob(".*")) == []


async def test_log_that_cannot_be_written_refuses_the_run_and_leaves_no_session(rig: Rig) -> None:
    async with rig.pool():
        pass
    rig.home.log.chmod(0o500)
    with Program(rig, "server.py", prefix=ORDINARY) as server:
        reply = server.ask("run", code=ASK_ONCE)
    rig.home.log.chmod(0o700)

    assert reply["code"] == "no_process"
    assert list(rig.home.sessions.glob("p-*")) == []


async def test_home_that_is_a_file_is_refused(rig: Rig) -> None:
    rig.home.root.touch()
    with pytest.raises(HomeUnusable, match=f"ALC_HOME={rig.home.root} cannot hold sessions: .*set ALC_HOME elsewhere"):
        async with Pool(rig.home, Limits()):
            pass


async def test_setting_that_names_no_way_to_spawn_is_refused_and_leaves_no_task(rig: Rig) -> None:
    with pytest.raises(HomeUnusable, match="ALC_SPAWN='magic' is neither fork nor exec: correct it or unset it"):
        async with Pool(rig.home, Limits(), environ={"ALC_SPAWN": "magic"}):
            pass


async def test_probe_of_a_server_that_was_killed_while_it_started_does_no_harm(rig: Rig) -> None:
    rig.home.sessions.mkdir(parents=True)
    left = rig.home.sessions / f".draft-{os.getpid()}"
    left.touch()
    async with rig.pool() as pool:
        first = (await run(pool, ASK_ONCE)).result
    left.unlink()

    assert first["prompt"] == "question"


@pytest.mark.slow
async def test_unknown_id_names_three_unfinished_sessions_and_how_many_more(rig: Rig) -> None:
    async with rig.pool() as pool:
        with pytest.raises(Refused, match="no session is unfinished here: start with alc_run"):
            await status_via_pool(pool, "p-1-0000000000000000")
        sids = [(await run(pool, ASK_ONCE, title=f"t{n}")).session_id for n in range(5)]
        with pytest.raises(Refused, match="not found") as refusal:
            await say(pool, "p-1-0000000000000000", "q-0", "A")

    text = str(refusal.value)
    assert [sid in text for sid in sids] == [False, False, True, True, True]
    assert '"t4" (waits for q-0)' in text
    assert "2 more: alc_status lists them" in text


@pytest.mark.slow
async def test_list_is_cut_at_its_limit_and_says_where_it_goes_on(rig: Rig) -> None:
    async with rig.pool(listed=2) as pool:
        sids = [(await run(pool, ASK_ONCE)).session_id for _ in range(3)]
        listed = await list_via_pool(pool)

    assert [line["session_id"] for line in listed["sessions"]] == sids[:0:-1]
    assert listed["cursor"] == sids[1]


def plant(rig: Rig, sid: str, kind: str) -> Path:
    """Something in the place of a journal that is not a journal."""
    path = rig.home.journal(sid)
    match kind:
        case "symlink":
            path.symlink_to("/etc/passwd")
        case "directory":
            path.mkdir()
        case "empty":
            path.touch()
        case "noise":
            path.write_bytes(b"\xff" * 500)
        case "nul":
            path.write_bytes(b"\0" * 500)
        case "strange record":
            path.write_bytes(journal_lines.encode({"kind": "prompt", "queries": [], "t": 1.0}, 0))
    return path


PLANTED = ["symlink", "directory", "empty", "noise", "nul", "strange record"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED)
async def test_file_that_is_not_a_journal_is_an_error_and_hinders_no_other_session(rig: Rig, kind: str) -> None:
    bad = "p-1-0000000000000000"
    async with rig.pool() as pool:
        good, *_ = await run(pool, ASK_TWICE)
        path = plant(rig, bad, kind)
        listed = await list_via_pool(pool)
        errors = []
        for call in (status_via_pool(pool, bad), say(pool, bad, "q-0", "A")):
            try:
                errors.append(str((await call).result["error"]))
            except AlcError as exc:
                errors.append(str(exc))
        second = (await say(pool, good, "q-0", "A")).result
    path.rmdir() if kind == "directory" else path.unlink()

    assert good in [line["session_id"] for line in listed["sessions"]]
    assert all(errors)
    assert second["prompt"] == "second after A"


@pytest.mark.slow
async def test_module_of_the_home_is_found(rig: Rig) -> None:
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "greet.lua").write_text("return function(name) return 'hello ' .. name end")
    async with rig.pool() as pool:
        end = (await run(pool, 'return require("greet")("you")')).result

    assert end["result"] == "hello you"


async def test_home_may_have_a_name_that_is_not_ascii(rig: Rig) -> None:
    rig.home = Home(rig.root / "hé ü\u2028x")
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        end = (await say(pool, sid, "q-0", "A")).result

    assert end["result"] == "got A"


async def test_server_whose_program_was_replaced_on_disk_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "__version__", "0.0.1")
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": "exec"}, resends=1) as pool:
        with pytest.raises(ProgramReplaced, match="start it again, then ask again") as caught:
            await run(pool, ASK_ONCE)

        (sid,) = {path.stem for path in rig.home.sessions.glob("p-*.journal")}
        assert sid in str(caught.value)
        rig.expected_reports.add(sid)
