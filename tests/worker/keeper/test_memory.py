"""Memory of a keeper: its limit ends the worker as a whole, another worker goes on, and nothing is lost."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from algocline_mcp.config.limits import KIB, MIB
from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import NO_MEMORY, PoolRequest
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal_lines
from tests.rig.rig import ASK_TWICE, WAIT_S, RawClient, Rig, run, say, until, wait_until_ended

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the size of a process is not known"),
]

LONG = "A" * MIB
LONGER = "A" * (3 * MIB)
REPLAY_BYTES = 48 * MIB  # the records of such a journal took 240
SMALL_BYTES = 2 * MIB  # enough to ask, not enough for a long answer
ROOMS = [0, 4 * KIB, 64 * KIB, 256 * KIB, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB, 6 * MIB, 8 * MIB, 12 * MIB]


def address_space_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def full_memory(pid: int, room: int) -> Iterator[None]:
    """This process may take `room` bytes more than it has now."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (address_space_bytes(pid) + room, hard))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))


@pytest.mark.parametrize("way", ["fork", "exec"])
async def test_keeper_has_a_limit_and_its_engine_another(rig: Rig, way: str) -> None:
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": way}, keeper_bytes=100 * MIB) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        keeper, engine = rig.keeper(sid), rig.engine(sid)
        limit, _ = resource.prlimit(keeper, resource.RLIMIT_AS)
        engine_limits = resource.prlimit(engine, resource.RLIMIT_AS)
        room = limit - address_space_bytes(keeper)

        assert 80 * MIB < room <= 100 * MIB
        assert pool.limits.heap_bytes < engine_limits[0] - address_space_bytes(engine) < 512 * MIB
        assert engine_limits[0] == engine_limits[1]


@pytest.mark.parametrize("room", ROOMS)
async def test_worker_without_memory_ends_and_the_next_one_takes_the_answer(rig: Rig, room: int) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        rig.expected_reports.add(sid)
        with full_memory(rig.keeper(sid), room):
            second = (await say(pool, sid, "q-0", LONG)).result
        end = (await say(pool, sid, "q-1", "B")).result
        await until(lambda: not rig.workers())

    assert second["prompt"] == f"second after {LONG}"
    assert end["result"] == f"{LONG}+B"
    assert rig.answers(sid) == [("q-0", LONG), ("q-1", "B")]


async def test_session_that_needs_more_than_the_limit_is_refused_by_name_and_is_whole_afterwards(rig: Rig) -> None:
    # linger_s: on a busy machine the exit code comes late.
    async with rig.pool(keeper_bytes=SMALL_BYTES, linger_s=5.0) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        rig.expected_reports.add(sid)
        with pytest.raises(Unreachable, match=f"{SMALL_BYTES} bytes \\(ALC_KEEPER_BYTES\\).*Nothing is lost") as caught:
            await say(pool, sid, "q-0", LONGER)
        await until(lambda: not rig.workers())
        seen = (await status_via_pool(pool, sid)).result
        report = rig.home.stderr(sid).read_text()
    async with rig.pool() as pool:
        second = (await say(pool, sid, "q-0", LONGER)).result

    assert caught.value.code == "worker_memory"
    assert seen["status"] in ("running", "needs_response")
    assert "no memory left" in report
    assert second["prompt"] == f"second after {LONGER}"
    assert rig.answers(sid) == [("q-0", LONGER)]


def write_long_journal(path: Path, records: list[Record], *, size_bytes: int, answer: str) -> str:
    """A journal of this size, from the header and the prompt of a session that always asks the same. Returns the id of
    the open query."""
    head, asked = records
    number = size = 0

    def prompt() -> Record:
        return asked | {"queries": [asked["queries"][0] | {"id": f"q-{number}"}]}

    with open(path, "wb") as file:
        for record in (head, prompt()):
            size += file.write(journal_lines.encode(record, size))
        while size < size_bytes:
            items = [{"id": f"q-{number}", "response": answer}]
            number += 1
            for record in ({"kind": "answer", "answers": items, "t": asked["t"]}, prompt()):
                size += file.write(journal_lines.encode(record, size))
            size += file.write(journal_lines.encode_mark(size))
    return f"q-{number}"


@pytest.mark.slow
@pytest.mark.parametrize("answer_bytes", [4_000_000, 40_000])
async def test_long_journal_is_replayed_in_little_memory(rig: Rig, answer_bytes: int) -> None:
    code = 'local n = 0 repeat local said = alc.llm("p") n = n + #said until said == "end" return n'
    async with rig.pool(keeper_bytes=REPLAY_BYTES) as pool:
        sid, *_ = await run(pool, code)
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.keepers(sid))
        records = rig.records(sid, "header", "prompt")
        answer = "A" * answer_bytes
        query_id = write_long_journal(rig.home.journal(sid), records, size_bytes=220 * MIB, answer=answer)
        end = (await say(pool, sid, query_id, "end", wait_s=2 * WAIT_S)).result

    assert end["status"] == "completed", end
    assert end["result"] == answer_bytes * int(query_id.removeprefix("q-")) + len("end")


class Exits(dict[str, str]):
    """Keeps every exit."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __setitem__(self, sid: str, exit_status: str) -> None:
        self.seen.append(exit_status)
        super().__setitem__(sid, exit_status)


async def test_worker_without_memory_says_so_by_its_exit_code(rig: Rig) -> None:
    async with rig.pool() as pool:
        pool.exits = exits = Exits()
        sid, *_ = await run(pool, ASK_TWICE)
        rig.expected_reports.add(sid)
        with full_memory(rig.keeper(sid), 0):
            await say(pool, sid, "q-0", LONG)
        await until(lambda: bool(exits.seen))

    assert exits.seen[0] == f"exit code {NO_MEMORY}"


async def test_worker_without_memory_leaves_no_socket_although_no_server_watches_it(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
    pid = rig.keeper(sid)
    rig.expected_reports.add(sid)
    with full_memory(pid, 0), RawClient(rig.home.socket(sid)) as client:
        with contextlib.suppress(OSError):  # it may end before it has read all
            client.send(PoolRequest("continue", 1, sid, WAIT_S, answers=[{"query_id": "q-0", "response": LONG}]))
        assert wait_until_ended(pid, WAIT_S)

    assert not rig.home.socket(sid).exists()


def test_line_that_finds_no_memory_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(line: bytes, *, yields: bool = False) -> None:
        raise MemoryError

    line = journal_lines.encode({"kind": "header"}, 0)
    monkeypatch.setattr(messages, "decode", no_memory)

    with pytest.raises(MemoryError):
        journal_lines.scan(line)
