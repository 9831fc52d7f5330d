"""Deadline, longest wait and progress notifications of a tool call."""

import time
from functools import partial
from typing import Any

import anyio
import pytest

from algocline_mcp.pool.dispatch import Progress
from algocline_mcp.server.tool_call.deadline import Notices
from tests.rig.hosts import LIMIT_S, Tools
from tests.rig.tool_replies import refusal_of, result_of


@pytest.mark.parametrize(
    ("client", "setting", "arrives"),
    [("claude-code", "", 110.0), ("claude-ai", "", 50.0), ("claude-code", "7", 7.0), ("codex", "600", 600.0)],
)
def test_the_longest_wait_follows_the_name_of_the_host_and_the_setting(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, client: str, setting: str, arrives: float
) -> None:
    monkeypatch.setenv("ALC_WAIT_MAX_S", setting)
    tools.client_name = client

    assert result_of(tools.call("alc_run", code="x", wait_s=1e9))["result"]["wait_s"] == arrives


def test_a_pool_that_hangs_is_left_at_the_deadline(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALC_GRACE_S", "0.2")
    began_s = time.monotonic()
    text = refusal_of(tools.call("alc_run", code='{"do": "hang"}', wait_s=0.1))

    assert "no answer within 0.3 s" in text
    assert "Check alc_status() before you start it again [timeout]" in text
    assert time.monotonic() - began_s < LIMIT_S / 2


def test_progress_reaches_the_host_and_only_ever_grows(tools: Tools) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def play() -> None:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append((progress, total, message))

        with anyio.fail_after(LIMIT_S):
            async with tools.client() as client:
                token: Any = {"progress_token": 1}  # in one process the SDK sends none by itself
                await client.call_tool("alc_run", {"code": '{"do": "progress"}'}, progress_callback=note, meta=token)

    anyio.run(play)
    assert [message and message.split(" (")[0] for _, _, message in seen] == ["1/2 step 1", "2/2 step 2", "1/2 step 1"]
    values = [progress for progress, _, _ in seen]
    assert values == sorted(set(values))


REPORTS = [
    (Progress(1, 2, "step", 90.0), "1/2 step (90 s)"),
    (Progress(0, 0, None, 3600.0), "running (3600 s)"),
    (Progress(7, 0, "of unknown", 5.0), "7 of unknown (5 s)"),
    (Progress(1, 2, "from a worker that does not say"), "1/2 from a worker that does not say (0 s)"),
]


@pytest.mark.parametrize(("progress", "message"), REPORTS)
def test_seconds_of_a_notification_count_from_where_the_session_began_to_compute(
    progress: Progress, message: str
) -> None:
    sent: list[str | None] = []

    async def report(progress: float, total: float | None = None, message: str | None = None) -> None:
        sent.append(message)
        raise ConnectionError  # ends `run`

    async def play() -> None:
        notices = Notices(report)
        await notices.on_progress(progress)
        await notices.run()

    anyio.run(play)

    assert sent == [message]


def test_a_long_wait_sends_heartbeats(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("algocline_mcp.server.tool_call.deadline.HEARTBEAT_S", 0.05)
    monkeypatch.setenv("ALC_GRACE_S", "0")
    beats: list[float] = []
    enough = anyio.Event()

    async def play() -> None:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            beats.append(progress)

            if len(beats) == 2:
                enough.set()

        with anyio.fail_after(LIMIT_S):
            async with tools.client() as client, anyio.create_task_group() as calls:
                arguments = {"code": '{"do": "hang"}', "wait_s": LIMIT_S}
                calls.start_soon(partial(client.call_tool, "alc_run", arguments, progress_callback=note))
                await enough.wait()
                calls.cancel_scope.cancel()

    anyio.run(play)
    assert len(beats) >= 2
    assert beats == sorted(set(beats))
