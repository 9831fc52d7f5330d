"""Sessions that are exported from one home and imported into another."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from algocline_mcp.cli import journal_commands
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history import export
from algocline_mcp.history.export import export_session, import_session, open_file, spool
from algocline_mcp.history.reader import session_of
from algocline_mcp.pool.dispatch import list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.session.state import Phase
from algocline_mcp.storage import home_setup, journal_lines
from tests.history.terminal import alc
from tests.rig.journals import final, header, prompt, sid_of, write
from tests.rig.rig import ASK_TWICE, Rig, finish, run, say, until

LIMITS = Limits()


@pytest.fixture
def other() -> Iterator[Rig]:
    """A second home."""
    rig = Rig()
    yield rig
    assert not rig.end()


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("is_live", [True, False])
async def test_an_exported_session_goes_on_in_another_home(rig: Rig, other: Rig, is_live: bool) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await say(pool, sid, "q-0", "A")
        if not is_live:
            await stop_via_pool(pool, sid, "hibernate")
        content = b"".join(export_session(rig.home, LIMITS, sid))
        taken = import_session(other.home, io.BytesIO(content), LIMITS)
        async with other.pool() as there:
            end = await finish(there, await status_via_pool(there, sid), "B")
            here = (await status_via_pool(pool, sid)).result

    assert taken == (sid, Phase.PAUSED)
    assert end["result"] == "A+B"
    assert here["prompt"] == "second after A"


@pytest.mark.anyio
async def test_a_finished_session_is_finished_where_it_goes(rig: Rig, other: Rig) -> None:
    async with rig.pool() as pool:
        sid, end, _ = await run(pool, "return 1")
        await until(lambda: rig.home.finished_journal(sid).exists())
        import_session(other.home, io.BytesIO(b"".join(export_session(rig.home, LIMITS, sid))), LIMITS)
        async with other.pool() as there:
            there_now = (await status_via_pool(there, sid)).result

    assert there_now == end
    assert other.home.finished_journal(sid).exists()


SID = sid_of(1)
GOOD = journal_lines.encode(header(SID), 0) + journal_lines.encode(prompt("q-0"), 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not begin as a journal: give one that alc export wrote"),
        (b"no journal\n", "does not begin as a journal"),
        (GOOD[:-9], "see line 2"),
        (GOOD.replace(b"prompt of", b"prompt if"), "see line 2"),
        (journal_lines.encode(header("../../x"), 0), "not a header of this version"),
        (journal_lines.encode(header(SID, format=99), 0), "format 99"),
        (journal_lines.encode(header(SID), 0) * 2, "a record of kind 'header' cannot come"),
    ],
    ids=["empty", "noise", "cut", "damaged", "path", "newer", "nonsense"],
)
def test_what_is_no_whole_journal_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes, sentence: str) -> None:
    home = Home(tmp_path / "h")
    with pytest.raises(Refused, match=sentence):
        import_session(home, io.BytesIO(content), LIMITS)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("lies", ["sessions", "finished"])
def test_an_id_that_exists_is_refused_and_stays_as_it_was(tmp_path: Path, lies: str) -> None:
    home = Home(tmp_path / "h")
    path = home.journal(SID) if lies == "sessions" else home.finished_journal(SID)
    write(path, [header(SID), final()])
    before = path.read_bytes()
    with pytest.raises(Refused, match="already"):
        import_session(home, io.BytesIO(GOOD), LIMITS)

    assert path.read_bytes() == before


FORK = {"kind": "fork", "strategies": ["a", "b"], "first": 0, "ctx": {}, "on_error": "skip", "t": 1001.0}
WIDE = {**header(SID)["limits"], "children": 302, "children_max": 1 << 40, "children_depth": 99, "strikes": 1 << 40}


def test_limits_in_the_file_are_lowered_to_those_of_the_home(other: Rig) -> None:
    home = other.home
    content = journal_lines.encode_flushed([header(SID, limits=WIDE), FORK])
    import_session(home, io.BytesIO(content), LIMITS)
    limits = session_of(home, LIMITS, SID).limits

    names = ("children", "children_max", "children_depth", "strikes", "prompt_bytes")
    assert [limits[name] for name in names] == [16, 256, 4, 3, 1000]


def test_a_session_that_has_used_more_than_the_home_allows_is_refused(tmp_path: Path) -> None:
    content = journal_lines.encode_flushed([header(SID, limits=WIDE), FORK])
    with pytest.raises(Refused, match=r"used more than this home allows, raise .*ALC_CHILDREN_MAX"):
        import_session(Home(tmp_path / "h"), io.BytesIO(content), Limits(children_max=1))

    assert not list(tmp_path.rglob("*.journal"))


class Changing(io.BytesIO):
    """Another file each time it is read from its beginning."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if self.tell():
            super().seek(0)
            self.write(GOOD[:9] + journal_lines.encode(header(sid_of(2)), 0)[9:])
        return super().seek(offset, whence)


def test_file_that_changes_after_it_was_judged_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="changed while it was imported"):
        import_session(Home(tmp_path / "h"), Changing(GOOD), LIMITS)

    assert [path for path in (tmp_path / "h" / "state").rglob("*") if path.is_file()] == []


def test_pipe_is_read_as_a_file_is() -> None:
    with spool(io.BytesIO(GOOD), Limits(journal_bytes=len(GOOD))) as file:
        file.seek(0)
        content = file.read()

    assert content == GOOD


def test_pipe_is_not_read_beyond_the_limit_of_a_journal() -> None:
    with pytest.raises(Refused, match="ALC_JOURNAL_BYTES"):
        spool(io.BytesIO(GOOD), Limits(journal_bytes=len(GOOD) - 1))


def special_file(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            (path / "inner").mkdir(parents=True)
        case "link":
            path.symlink_to("/dev/zero")
        case "sparse file":
            path.touch()
            os.truncate(path, 1 << 41)
    return path


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "sparse file"])
def test_a_special_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Refused, match=r"not a regular file|cannot be read|ALC_JOURNAL_BYTES"):
        open_file(special_file(tmp_path / "x", kind), LIMITS)


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "sparse file"])
@pytest.mark.anyio
async def test_a_special_file_with_the_name_of_a_session_is_an_error_and_can_be_deleted(rig: Rig, kind: str) -> None:
    home_setup.prepare(rig.home)
    special_file(rig.home.journal(SID), kind)
    async with rig.pool() as pool:
        listed = await list_via_pool(pool)
        with pytest.raises(StorageFailed):
            await status_via_pool(pool, SID)
        gone = (await stop_via_pool(pool, SID, "delete")).result

    assert [(line["session_id"], line["status"]) for line in listed["sessions"]] == [(SID, "error")]
    assert gone["status"] == "deleted"
    assert os.listdir(rig.home.sessions) == [rig.home.finished.name]


def test_a_damaged_session_is_not_exported_and_leaves_no_file(tmp_path: Path) -> None:
    home, file = Home(tmp_path / "h"), tmp_path / "s.journal"
    home_setup.prepare(home)
    content = journal_lines.encode_flushed([header(SID), prompt("q-0"), prompt("q-1")])
    home.journal(SID).write_bytes(content.replace(b"prompt of q-0", b"prompt if q-0"))
    out = alc(home, "export", SID, str(file))
    shown = alc(home, "export", SID, "-")

    assert b"prompt of q-0" in content
    assert (out.returncode, shown.returncode, shown.stdout) == (1, 1, "")
    assert "damaged" in out.stderr
    assert not file.exists()


@pytest.mark.parametrize("cause", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=["disk", "Ctrl-C"])
def test_an_export_that_ends_half_way_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: BaseException
) -> None:
    def lines(*arguments: object) -> Iterator[bytes]:
        yield b"the first line"
        raise cause

    monkeypatch.setattr(export, "export_session", lines)
    monkeypatch.setenv("ALC_HOME", str(tmp_path / "h"))
    done = CliRunner().invoke(journal_commands.export, [SID, str(tmp_path / "s.journal")])

    assert done.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_moves_a_session_by_file(rig: Rig, other: Rig, tmp_path: Path) -> None:
    write(rig.home.journal(SID), [header(SID), prompt("q-0")])
    file = str(tmp_path / "s.journal")
    out = alc(rig.home, "export", SID, file)
    twice = alc(rig.home, "export", SID, file)
    into = alc(other.home, "import", file)
    again = alc(other.home, "import", file)

    assert (out.returncode, out.stdout) == (0, f"{file}\n")
    assert (twice.returncode, "exists" in twice.stderr) == (1, True)
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert (into.returncode, into.stdout) == (0, f"{SID}\n")
    assert into.stderr == f"alc: the session is paused; go on with: alc continue {SID}\n"
    assert (again.returncode, again.stderr.count("already")) == (1, 1)
    assert "alc stop --delete" in again.stderr
