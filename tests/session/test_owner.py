"""session/owner.py: who calls."""

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from algocline_mcp.session.owner import USER, caller, calling_as


def test_without_a_request_the_user_of_the_home_calls() -> None:
    assert caller() == USER


def test_a_caller_is_set_for_its_request_alone() -> None:
    with calling_as("ann"):
        with calling_as("ben"):
            inner = caller()
        outer = caller()

    assert (inner, outer, caller()) == ("ben", "ann", USER)


@pytest.mark.anyio
async def test_tasks_and_threads_of_a_request_have_its_caller() -> None:
    callers: dict[str, str] = {}

    async def call(owner: str) -> None:
        with calling_as(owner):
            await anyio.lowlevel.checkpoint()  # the other request comes in between
            callers[owner] = await anyio.to_thread.run_sync(caller)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "ann")
        tasks.start_soon(call, "ben")

    assert callers == {"ann": "ann", "ben": "ben"}
