"""A full disk, and a disk that fails: every acknowledged record is on the disk, and every record on it is kept."""

import contextlib
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from tests.rig.rig import ASK_ONCE, ASK_TWICE, SOON_S, WAIT_S, Program, Rig, ended, kill, run, say, stopped, until

pytestmark = pytest.mark.anyio


@contextmanager
def full_disk(pid: int, size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize(("room", "code"), [(0, "storage_failed"), (1, "storage_full"), (60, "storage_full")])
async def test_answer_that_the_disk_does_not_take_is_refused_and_works_when_there_is_room(
    rig: Rig, room: int, code: str
) -> None:
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, ASK_TWICE)
        before = rig.journal(sid).read_bytes()
        keeper = rig.keeper(sid)
        with full_disk(keeper, len(before) + room):
            with pytest.raises(Refused) as caught:
                await say(pool, sid, "q-0", "A" * 1000)
            seen = (await status_via_pool(pool, sid)).result
            untouched = rig.journal(sid).read_bytes() == before
        second = (await say(pool, sid, "q-0", "A")).result

        assert caught.value.code == code
        assert str(rig.home.sessions) in str(caught.value)
        assert seen == first
        assert untouched
        assert second["prompt"] == "second after A"
        assert rig.answers(sid) == [("q-0", "A")]
        assert rig.keeper(sid) == keeper


async def test_prompt_that_the_disk_does_not_take_is_not_shown_and_comes_when_there_is_room(rig: Rig) -> None:
    code = 'local a = alc.llm("first") return alc.llm(string.rep("x", 5000) .. a)'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        with full_disk(rig.keeper(sid), rig.journal(sid).stat().st_size + 1500), pytest.raises(Refused) as caught:
            await say(pool, sid, "q-0", "A")
        second = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result

    assert caught.value.code == "storage_full"
    assert second["prompt"] == "x" * 5000 + "A"
    assert rig.answers(sid) == [("q-0", "A")]


async def test_session_that_a_full_disk_stopped_can_be_stopped_and_revived(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        with full_disk(rig.keeper(sid), rig.journal(sid).stat().st_size), contextlib.suppress(Refused):
            await say(pool, sid, "q-0", "A")
        await stop_via_pool(pool, sid, "hibernate")
        second = (await say(pool, sid, "q-0", "A")).result

    assert second["prompt"] == "second after A"


@pytest.mark.slow
async def test_run_whose_header_the_disk_does_not_take_is_refused_and_leaves_no_session(rig: Rig) -> None:
    with Program(rig, "server.py", prefix=["prlimit", "--fsize=4096"]) as server:
        refused = server.ask("run", code=f"--{'x' * 5000}\n{ASK_ONCE}")
        left = list(rig.home.sessions.glob("p-*"))
        small = server.ask("run", code=ASK_ONCE)

    assert refused["code"] == "storage_full"
    assert left == []
    assert small["result"]["prompt"] == "question"


async def test_journal_over_its_limit_takes_no_answer_and_says_which_limit_it_is(rig: Rig) -> None:
    async with rig.pool(journal_bytes=3000) as pool:
        sid, first, _ = await run(pool, ASK_TWICE)
        with pytest.raises(Refused, match="ALC_JOURNAL_BYTES") as caught:
            await say(pool, sid, "q-0", "A" * 3000)
        seen = (await status_via_pool(pool, sid)).result
        second = (await say(pool, sid, "q-0", "A")).result

    assert caught.value.code == "journal_full"
    assert seen == first
    assert second["prompt"] == "second after A"


# ── flushes, seen from outside ────────────────────────────────────────────────────────────────────────────


def has_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return tried.returncode == 0


needs_strace = pytest.mark.skipif(not has_strace(), reason="strace is missing or may not trace here")


@contextmanager
def traced(pid: int, path: Path, *options: str) -> Iterator[None]:
    """System calls of one process go to `path`. Ends when the process has ended or the block is left."""
    command = ["strace", "-y", "-s", "60", "-p", str(pid), "-o", str(path), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        if "attached" not in said:
            strace.kill()
            pytest.skip(f"strace cannot attach: {said}")
        try:
            yield
        finally:
            strace.terminate()
            strace.wait(SOON_S)


def calls(path: Path) -> list[str]:
    """What the keeper did, in order: append, mark, flush, reply (to a client), engine (a word to it)."""
    kinds = {
        "mark": r'write\(\d+<[^>]*\.journal>, "\\n',
        "append": r"write\(\d+<[^>]*\.journal>",
        "flush": r"f(data)?sync\(\d+<[^>]*\.journal>",
        "reply": r'sendto\(.*"\{\\"protocol\\":',
        "engine": r"sendto\(",
    }
    calls = []
    for line in path.read_text().splitlines():
        kind = next((kind for kind, pattern in kinds.items() if re.match(pattern, line)), None)
        calls += [kind] if kind else []
    return calls


TRACE = ("-e", "trace=fdatasync,fsync,write,sendto")


@needs_strace
async def test_each_step_is_flushed_exactly_once_after_its_last_record_and_before_the_reply(
    rig: Rig, tmp_path: Path
) -> None:
    code = 'local a = alc.llm("first") print("noted") local t = alc.time() local b = alc.llm("second") return a .. b'
    trace = tmp_path / "trace"
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, code)
        with traced(rig.keeper(sid), trace, *TRACE):
            await say(pool, sid, "q-0", "A")
            await until(lambda: "reply" in calls(trace))

    # answer, to the engine; note; the clock (answered from memory, recorded before the prompt); prompt; told
    assert calls(trace) == [
        *("append", "engine", "append", "engine", "append", "append"),
        *("flush", "mark", "reply"),
    ]


@needs_strace
async def test_answer_that_lets_nothing_run_is_flushed_before_it_is_accepted(rig: Rig, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, 'return alc.llm_batch({{prompt = "a"}, {prompt = "b"}})')
        with traced(rig.keeper(sid), trace, *TRACE):
            await say(pool, sid, "q-1", "B")
            await until(lambda: "reply" in calls(trace))

    assert calls(trace) == ["append", "flush", "mark", "reply"]


@needs_strace
async def test_request_that_changes_nothing_writes_and_flushes_nothing(rig: Rig, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await say(pool, sid, "q-0", "A")
        with traced(rig.keeper(sid), trace, *TRACE):
            await status_via_pool(pool, sid)
            await say(pool, sid, "q-0", "A")
            await until(lambda: calls(trace).count("reply") == 2)

    assert calls(trace) == ["reply", "reply"]


@pytest.mark.slow
@needs_strace
async def test_revived_session_is_flushed_before_its_first_reply(rig: Rig, tmp_path: Path) -> None:
    """What a dead keeper appended may not be on the disk yet, though its successor reads it."""
    trace = tmp_path / "trace"
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, 'for _ = 1, 60000000 do end alc.llm("p") return alc.llm("p")')
        await kill(rig.keeper(sid))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, pool, sid, None, "A")
            await until(lambda: rig.keepers(sid))  # its replay takes long enough to stop it there
            with contextlib.ExitStack() as until_traced, contextlib.ExitStack() as trace_it:
                until_traced.enter_context(stopped(rig.keeper(sid)))
                trace_it.enter_context(traced(rig.keeper(sid), trace, *TRACE))
                until_traced.close()
                await until(lambda: "reply" in calls(trace))
        again = (await say(pool, sid, "q-0", "A")).result

    assert calls(trace) == ["append", "engine", "append", "flush", "mark", "reply"]
    assert again["query_id"] == "q-1"


@needs_strace
async def test_failed_flush_acknowledges_nothing_and_the_next_worker_recovers_from_the_disk(
    rig: Rig, tmp_path: Path
) -> None:
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        rig.expected_reports.add(sid)
        keeper = rig.keeper(sid)
        trace = tmp_path / "trace"
        with traced(keeper, trace, *TRACE, "-e", "inject=fdatasync:error=EIO"):
            second = (await say(pool, sid, "q-0", "A")).result
            await ended(keeper)
        await until(lambda: "cannot flush" in rig.home.stderr(sid).read_text())
        end = (await say(pool, sid, "q-1", "B")).result

    assert "reply" not in calls(trace)
    assert calls(trace).count("flush") == 1  # never tried again on that descriptor
    assert second["prompt"] == "second after A"
    assert end["result"] == "A+B"
    assert rig.answers(sid) == [("q-0", "A"), ("q-1", "B")]
