"""Sessions that move to another home, and journals that are tried out under the installed version."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.history.export import export_session, import_session
from algocline_mcp.pool.dispatch import Pool, continue_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.pool.verify import scratch_pool, verify_session
from algocline_mcp.session.events import Answer
from algocline_mcp.session.state import Phase
from algocline_mcp.storage import journal, journal_lines
from tests.history.test_retention import alc
from tests.rig.journals import final, header, prompt, sid_of, write
from tests.rig.rig import ASK_ONCE, ASK_TWICE, WAIT_S, Rig, finish, kill, run, say, until

LIMITS = Limits()


@pytest.fixture
def other() -> Iterator[Rig]:
    """A second home."""
    rig = Rig()
    yield rig
    assert not rig.end()


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
            told = (await status_via_pool(there, sid)).result

    assert told == end
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
    assert into.stderr == f"alc: it is paused; go on with: alc continue {SID}\n"
    assert (again.returncode, again.stderr.count("already")) == (1, 1)
    assert "alc stop --delete" in again.stderr


# ── verify ────────────────────────────────────────────────────────────────────────────────────────────────


async def outcome(rig: Rig, sid: str, wait_s: float = WAIT_S) -> str:
    async with scratch_pool(rig.home, LIMITS, {}) as pool:
        root = pool.home.root.parent
        told = await verify_session(pool, rig.home, sid, wait_s=wait_s)
    assert not root.exists()
    return str(told["outcome"])


async def paused(pool: Pool, code: str, *texts: str) -> str:
    sid, *_ = await run(pool, code)
    for n, text in enumerate(texts):
        await continue_via_pool(pool, sid, [Answer(f"q-{n}", text)], wait_s=WAIT_S)
    await stop_via_pool(pool, sid, "hibernate")
    return sid


def rewrite(path: Path, old: str, new: str) -> None:
    """Changes the header as if another program had written it so."""
    head, *rest = journal.read(path)
    head = json.loads(json.dumps(head).replace(old, new))
    path.write_bytes(b"".join(journal_lines.encode(each, 0) for each in (head, *rest)))


@pytest.mark.anyio
async def test_verify_tells_each_outcome_and_changes_nothing(rig: Rig) -> None:
    async with rig.pool() as pool:
        same = await paused(pool, ASK_TWICE, "A")
        other = await paused(pool, ASK_TWICE, "A")
        foreign = await paused(pool, ASK_ONCE)
        broken = await paused(pool, ASK_TWICE, "A")
        killed, *_ = await run(pool, ASK_TWICE)
        await kill(rig.keeper(killed))
        rewrite(rig.journal(other), "second after", "third after")
        rewrite(rig.journal(foreign), '"Lua 5.5"', '"Lua 6"')
        content = bytearray(rig.journal(broken).read_bytes())
        content[content.index(b'"kind":"answer"') + 3] ^= 1
        rig.journal(broken).write_bytes(content)
        before = {path: path.read_bytes() for path in rig.home.sessions.glob("*.journal")}
        told = [await outcome(rig, sid) for sid in (same, other, foreign, broken, killed, SID)]

    after = {path: path.read_bytes() for path in rig.home.sessions.glob("*.journal")}
    assert told == ["same", "diverged", "needs_version", "corrupt", "same", "finished"]
    assert after == before


def test_verify_at_the_terminal_has_an_exit_code(rig: Rig) -> None:
    shutil.rmtree(rig.home.root, ignore_errors=True)
    empty = alc(rig.home, "verify", "--all")
    write(rig.home.journal(SID), [header(SID), prompt("q-0")])
    bad = alc(rig.home, "verify", SID)
    wrong = alc(rig.home, "verify")

    assert (empty.returncode, empty.stdout) == (0, "")
    assert (bad.returncode, bad.stdout) == (1, f"{SID} needs_version\n")
    assert wrong.returncode == 2
