"""How a tool call waits: under one deadline, and with signs of life for the host.

Contract. `watched` ends at its deadline whatever the call hangs on, and never because a notice could not be sent.
What it waited for goes on: leaving here cancels the waiting, not the session.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from algocline_mcp.errors import Unreachable

if TYPE_CHECKING:
    from algocline_mcp.pool.dispatch import OnProgress, PoolReply, Progress

HEARTBEAT_S = 4.8  # with the gap below under 5 s: a host shows a call without news as hung; the SDK allows 60 s
NOTICE_GAP_S = 0.1  # a strategy may report in a tight loop: the host gets the latest, ten times a second at most
# Hosts give up at 60 s, whatever is reported, and some then drop every server; Claude Code waits, and moves a call
# to the background after 120 s. What a call may wait stays below both, with the grace of an answer.
CEILING_S = 50.0
CEILINGS_S = {"claude-code": 110.0}
_BEAT = 0.01  # the protocol wants a growing number; a step counts 1, so a hundred beats fit between two steps


Reply = TypeVar("Reply")


class Report(Protocol):
    """`Context.report_progress` of the SDK."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...


class Notices:
    """The progress notifications of one call: what the strategy reported, or a heartbeat."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began_s = anyio.current_time()
        self._latest: Progress | None = None
        self._news = anyio.Event()
        self._told = 0.0

    async def on_progress(self, progress: "Progress") -> None:
        """Never waits: a host that reads slowly must not hold up the worker's connection."""
        self._latest = progress
        self._news.set()

    async def run(self) -> None:
        while True:
            with anyio.move_on_after(HEARTBEAT_S):
                await self._news.wait()
            self._news = anyio.Event()
            try:
                await self._report(*self._next())
            except Exception:  # noqa: BLE001 - the host is gone or broken; the call has to come to its end all the same
                return
            await anyio.sleep(NOTICE_GAP_S)

    def _next(self) -> tuple[float, float | None, str]:
        latest = self._latest
        self._told = max(self._told + _BEAT, latest.step if latest else 0)
        said = (latest.message if latest else None) or "at work"
        steps = f"{latest.step}/{latest.total} " if latest else ""
        elapsed_s = anyio.current_time() - self._began_s
        return self._told, latest.total if latest else None, f"{steps}{said} ({elapsed_s:.0f} s)"


def allowed_s(wait_s: float, client: str, wait_max_s: float) -> float:
    """How long a call may wait that asks for `wait_s`. `client`: the name by which the host introduced itself;
    `wait_max_s` of the settings takes the place of what is known of that host, unless it is 0."""
    return min(wait_s, wait_max_s or CEILINGS_S.get(client, CEILING_S))


async def within(limit_s: float, call: Awaitable[Reply], *, unanswered: str) -> Reply:
    """What `call` returns. Raises Unreachable with the sentence `unanswered` after `limit_s`."""
    with anyio.move_on_after(limit_s):
        return await call
    raise Unreachable(f"no answer within {limit_s:g} s: {unanswered}", code="timeout")


async def watched(
    call: "Callable[[OnProgress], Awaitable[PoolReply]]", report: Report, *, within_s: float, unanswered: str
) -> "PoolReply":
    """What `call` returns. Raises its AlcError, or Unreachable with the sentence `unanswered` after `within_s`."""
    return await within(within_s, _with_notices(call, Notices(report)), unanswered=unanswered)


async def _with_notices(call: "Callable[[OnProgress], Awaitable[PoolReply]]", notices: Notices) -> "PoolReply":
    async with anyio.create_task_group() as group:
        group.start_soon(notices.run)
        try:
            result: PoolReply | Exception = await call(notices.on_progress)
        except Exception as exc:  # noqa: BLE001 - raised again below, where the group does not wrap it
            result = exc
        group.cancel_scope.cancel()
    if isinstance(result, Exception):
        raise result
    return result
