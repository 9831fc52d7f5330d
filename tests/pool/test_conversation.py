"""The table of a conversation: what follows from each way in which an attempt ends without a response."""

from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, ProtocolError, Unreachable
from algocline_mcp.pool import conversation
from algocline_mcp.pool.conversation import Call, Failure, Outcome, converse
from algocline_mcp.pool.dispatch import PoolReply
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.reach import Absent
from algocline_mcp.protocol.messages import NO_MEMORY, PoolRequest, PoolResponse, WorkerIdentity

pytestmark = pytest.mark.anyio

SID = "p-1-0000000000000001"
RESENDS = 2
AGAIN = "another attempt"
FROM_DISK = PoolReply(SID, {"status": "from disk"}, None)

ROWS: dict[Outcome, PoolReply | str] = {
    Outcome.NO_WORKER: FROM_DISK,
    Outcome.WORKER_ENDED: AGAIN,
    Outcome.OTHER_RELEASE: AGAIN,
    Outcome.BROKEN: "malformed; ask again",
    Outcome.SILENT: "has not answered within",
}


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    async def from_disk(*args: object) -> PoolReply:
        return FROM_DISK

    async def terminate(*args: object) -> None: ...

    monkeypatch.setattr(conversation, "reply_from_disk", from_disk)
    monkeypatch.setattr(conversation, "terminate_worker", terminate)
    return Pool(Home(tmp_path), Limits(resends=RESENDS), environ={})


async def outcome_of(pool: Pool, failure: Failure, monkeypatch: pytest.MonkeyPatch) -> tuple[PoolReply | AlcError, int]:
    """What a conversation comes to whose attempts all end so, and how many there were."""
    attempts = 0

    async def attempt(call: Call) -> Failure:
        nonlocal attempts
        attempts += 1
        return failure

    monkeypatch.setattr(conversation, "_attempt", attempt)
    try:
        return await converse(pool, PoolRequest("status", 1, SID), None), attempts
    except AlcError as exc:
        return exc, attempts


async def replies(
    pool: Pool, feed_results: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, op: Any, wait_s: float
) -> int:
    """How many of these responses of workers, one after the other, a conversation takes for early."""
    left = list(feed_results)

    async def attempt(call: Call) -> PoolResponse:
        data = {"kind": "feed", "session_id": SID, "feed_result": left.pop(0)}
        return PoolResponse(1, WorkerIdentity(1, "0", SID, 1, 1), data=data)

    async def reply(call: Call, response: PoolResponse) -> PoolReply:
        return PoolReply(SID, {"was": (response.data or {})["feed_result"]}, None)

    monkeypatch.setattr(conversation, "_attempt", attempt)
    monkeypatch.setattr(conversation, "_reply", reply)
    await converse(pool, PoolRequest(op, 1, SID, wait_s), None)
    return len(feed_results) - len(left) - 1


@pytest.mark.parametrize(
    ("op", "wait_s", "early"),
    [("continue", 45.0, 2), ("run", 45.0, 2), ("continue", 0.0, 0), ("status", 45.0, 0)],
)
async def test_running_before_the_wait_is_over_is_asked_again_except_by_a_look(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, op: Any, wait_s: float, early: int
) -> None:
    paused: dict[str, Any] = {"Paused": {"queries": []}}

    assert await replies(pool, [{"Running": {}}, {"Running": {}}, paused, paused], monkeypatch, op, wait_s) == early
    assert await replies(pool, [{"Running": {}}] * 9, monkeypatch, op, wait_s) == early


@pytest.mark.parametrize("outcome", Outcome)
async def test_each_outcome_has_its_row(pool: Pool, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    end, attempts = await outcome_of(pool, Failure(outcome, ProtocolError("malformed")), monkeypatch)
    expected = ROWS[outcome]

    if isinstance(expected, PoolReply):
        assert (end, attempts) == (expected, 1)
    elif expected == AGAIN:
        assert f"ended {RESENDS + 1} times before it answered" in str(end)
        assert attempts == RESENDS + 1
    else:
        assert isinstance(end, Unreachable)
        assert expected in str(end)
        assert attempts == 1


async def test_worker_that_has_no_memory_is_tried_twice(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.exits[SID] = f"exit code {NO_MEMORY}"
    end, attempts = await outcome_of(pool, Failure(Outcome.WORKER_ENDED, ConnectionError()), monkeypatch)

    assert isinstance(end, Unreachable)
    assert end.code == "worker_memory"
    assert "had no memory left, 2 times" in str(end)
    assert attempts == 2


async def test_worker_of_another_release_that_cannot_be_ended_is_an_error(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object) -> None:
        raise Unreachable("nothing is known of it")

    monkeypatch.setattr(conversation, "terminate_worker", fail)
    end, attempts = await outcome_of(
        pool, Failure(Outcome.OTHER_RELEASE, ProtocolError("uses protocol 99")), monkeypatch
    )

    assert isinstance(end, Unreachable)
    assert "uses protocol 99; ask again" in str(end)
    assert attempts == 1


ERRORS: list[tuple[Exception, Outcome]] = [
    (Absent(SID), Outcome.NO_WORKER),
    (ConnectionResetError(), Outcome.WORKER_ENDED),
    (BrokenPipeError(), Outcome.WORKER_ENDED),
    (BlockingIOError(), Outcome.WORKER_ENDED),
    (ProtocolError("uses protocol 99", code="protocol"), Outcome.OTHER_RELEASE),
    (ProtocolError("malformed"), Outcome.BROKEN),
    (TimeoutError(), Outcome.SILENT),
]


@pytest.mark.parametrize(("error", "outcome"), ERRORS, ids=lambda value: getattr(value, "name", type(value).__name__))
async def test_each_error_of_an_attempt_is_one_outcome(
    pool: Pool, error: Exception, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(conversation, "reach", fail)
    call = Call(pool, PoolRequest("status", 1, SID), None, None, spawn_if=None, began=0.0)

    assert await conversation._attempt(call) == Failure(outcome, error)
