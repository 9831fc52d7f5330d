"""Deadline and progress notifications of one tool call.

Contract. `with_deadline` and `with_progress` end at their deadline, whatever the call hangs on, and never fail because
a notification could not be sent. At the deadline only the waiting is cancelled: the session goes on.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from algocline_mcp.errors import Unreachable

if TYPE_CHECKING:
    from algocline_mcp.pool.dispatch import OnProgress, Progress

HEARTBEAT_S = 4.8  # with the gap below under 5 s: a host shows a call without news as hung; the SDK allows 60 s
NOTICE_GAP_S = 0.1  # a strategy may report in a tight loop: the host gets the latest, ten times a second at most
# Hosts give up at 60 s, whatever is reported, and some then drop every server; Claude Code waits, and moves a call
# to the background after 120 s. The longest wait stays below both, with the grace of an answer.
CEILING_S = 50.0
CEILINGS_S = {"claude-code": 110.0}  # by the name of the client
MIN_DISK_S = 0.5  # a disk gets this long to answer, also where the settings allow no grace
_BEAT = 0.01  # the protocol wants a growing number; a step counts 1, so a hundred heartbeats fit between two steps


Reply = TypeVar("Reply")


class ReportProgress(Protocol):
    """`Context.report_progress` of the SDK."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None: ...


class Notices:
    """Progress notifications of one call: what the strategy reports, else a heartbeat. Both tell for how long the
    session computes, as far as the worker has told it, else for how long the call waits."""

    def __init__(self, report: ReportProgress) -> None:
        self._report = report
        self._began_s = anyio.current_time()
        self._latest: Progress | None = None
        self._news = anyio.Event()
        self._reported = 0.0

    async def on_progress(self, progress: "Progress") -> None:
        """Never waits: a host that reads slowly must not hold up the connection to the worker."""
        self._latest = progress
        if progress.elapsed_s is not None:
            self._began_s = anyio.current_time() - progress.elapsed_s
        self._news.set()

    async def run(self) -> None:
        """Sends until it is cancelled or the host cannot be reached."""
        while True:
            with anyio.move_on_after(HEARTBEAT_S):
                await self._news.wait()
            self._news = anyio.Event()
            try:
                await self._report(*self._next())
            except Exception:  # noqa: BLE001 - the host is gone or broken; the call goes on to its end all the same
                return
            await anyio.sleep(NOTICE_GAP_S)

    def _next(self) -> tuple[float, float | None, str]:
        latest = self._latest
        self._reported = max(self._reported + _BEAT, latest.step if latest else 0)
        text = (latest.message if latest else None) or "running"
        total = latest.total if latest else 0  # 0: unknown
        steps = f"{latest.step}{f'/{total}' if total else ''} " if latest and (latest.step or total) else ""
        elapsed_s = anyio.current_time() - self._began_s
        return self._reported, total or None, f"{steps}{text} ({elapsed_s:.0f} s)"


def allowed_wait_s(wait_s: float, client: str, wait_max_s: float) -> float:
    """`wait_s`, at most what the host `client` (the name it introduced itself by) waits for a call. `wait_max_s` of the
    settings replaces what is known of that host, unless it is 0."""
    return min(wait_s, wait_max_s or CEILINGS_S.get(client, CEILING_S))


async def with_deadline(limit_s: float, call: Awaitable[Reply], *, timeout_advice: str) -> Reply:
    """The result of `call`. Raises Unreachable (code `timeout`) with `timeout_advice` after `limit_s`."""
    with anyio.move_on_after(limit_s):
        return await call
    raise Unreachable(f"no answer within {limit_s:g} s: {timeout_advice}", code="timeout")


async def with_progress(
    call: "Callable[[OnProgress], Awaitable[Reply]]", report: ReportProgress, *, limit_s: float, timeout_advice: str
) -> Reply:
    """As with_deadline, and sends notifications by `report` meanwhile. Raises the AlcError that `call` raises."""
    return await with_deadline(limit_s, _with_notices(call, Notices(report)), timeout_advice=timeout_advice)


async def _with_notices(call: "Callable[[OnProgress], Awaitable[Reply]]", notices: Notices) -> Reply:
    async with anyio.create_task_group() as group:
        group.start_soon(notices.run)
        try:
            result: Reply | Exception = await call(notices.on_progress)
        except Exception as exc:  # noqa: BLE001 - raised again below, where the group does not wrap it
            result = exc
        group.cancel_scope.cancel()
    if isinstance(result, Exception):
        raise result
    return result
