"""Sessions that are exported from one home and imported into another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.history.export import export_session, import_session
from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from algocline_mcp.session.state import Phase
from algocline_mcp.storage import journal_lines
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
        content = export_session(rig.home, LIMITS, sid)
        taken = import_session(other.home, content, LIMITS)
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
        import_session(other.home, export_session(rig.home, LIMITS, sid), LIMITS)
        async with other.pool() as there:
            there_now = (await status_via_pool(there, sid)).result

    assert there_now == end
    assert other.home.finished_journal(sid).exists()


SID = sid_of(1)
GOOD = journal_lines.encode(header(SID), 0) + journal_lines.encode(prompt("q-0"), 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a whole journal"),
        (b"no journal\n", "see line 1"),
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
        import_session(home, content, LIMITS)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("lies", ["sessions", "finished"])
def test_an_id_that_exists_is_refused_and_stays_as_it_was(tmp_path: Path, lies: str) -> None:
    home = Home(tmp_path / "h")
    path = home.journal(SID) if lies == "sessions" else home.finished_journal(SID)
    write(path, [header(SID), final()])
    before = path.read_bytes()
    with pytest.raises(Refused, match="already"):
        import_session(home, GOOD, LIMITS)

    assert path.read_bytes() == before


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
