"""Journals that are replayed under the installed version, in a home of their own."""

import json
import shutil
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, continue_via_pool, stop_via_pool
from algocline_mcp.pool.verify import scratch_pool, verify_session
from algocline_mcp.session.events import Answer
from algocline_mcp.storage import journal, journal_lines
from tests.history.terminal import alc
from tests.rig.journals import header, prompt, sid_of, write
from tests.rig.rig import ASK_ONCE, ASK_TWICE, WAIT_S, Rig, kill, run

LIMITS = Limits()
SID = sid_of(1)


async def outcome(rig: Rig, sid: str, wait_s: float = WAIT_S) -> str:
    async with scratch_pool(rig.home, LIMITS, {}) as pool:
        root = pool.home.root.parent
        report = await verify_session(pool, rig.home, sid, wait_s=wait_s)
    assert not root.exists()
    return str(report["outcome"])


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
    path.write_bytes(b"".join(journal_lines.encode(record, 0) for record in (head, *rest)))


@pytest.mark.slow
@pytest.mark.anyio
async def test_verify_reports_each_outcome_and_changes_nothing(rig: Rig) -> None:
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
        outcomes = [await outcome(rig, sid) for sid in (same, other, foreign, broken, killed, SID)]

    after = {path: path.read_bytes() for path in rig.home.sessions.glob("*.journal")}
    assert outcomes == ["same", "diverged", "needs_version", "corrupt", "same", "finished"]
    assert after == before


@pytest.mark.slow
def test_verify_at_the_terminal_has_an_exit_code(rig: Rig) -> None:
    shutil.rmtree(rig.home.root, ignore_errors=True)
    empty = alc(rig.home, "verify", "--all")
    write(rig.home.journal(SID), [header(SID), prompt("q-0")])
    bad = alc(rig.home, "verify", SID)
    wrong = alc(rig.home, "verify")

    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "alc: 0 of 0 unfinished sessions replay\n")
    assert bad.returncode == 1
    assert bad.stdout == f"{SID} needs_version: another version of the program or the language wrote it\n"
    assert wrong.returncode == 2


@pytest.mark.slow
@pytest.mark.anyio
async def test_verify_at_the_terminal_says_in_a_sentence_that_a_session_replays(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = await paused(pool, ASK_TWICE, "A")

        good = await anyio.to_thread.run_sync(partial(alc, rig.home, "verify", "--all"))

    assert (good.returncode, good.stdout) == (0, f"{sid} replays as recorded\n")
    assert good.stderr == "alc: 1 of 1 unfinished sessions replay\n"
