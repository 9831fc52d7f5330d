"""State of a running server: its limits and its pool.

Contract. `ServerState.run` is a task for the whole life of the server. It opens the pool at the first tool call, or
when the host has been quiet for _QUIET_S: the pool and its imports take 45 ms, a tenth of a whole start, and the first
requests of a host (who is this server, which tools does it have) do not need them. `wait_until_open` returns when the
pool is open or the reason why it cannot be opened is known; `pool` may be called only then. A setting that does not
work is reported by every tool call, because hosts hide the stderr of a server that died. A home that does not work is
reported by the calls that need what does not work, and is used again as soon as it is repaired.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.server.tool_call.deadline import MIN_DISK_S, with_deadline
from algocline_mcp.session.owner import caller

if TYPE_CHECKING:
    from algocline_mcp.pool.pool import Pool
    from algocline_mcp.server.tool_call.answering import Answering

_QUIET_S = 0.2


class ServerState:
    def __init__(
        self,
        limits: Limits,
        make_pool: "Callable[[], AbstractAsyncContextManager[Pool]] | HomeUnusable",
        answered_by: str = "",
    ) -> None:
        """`make_pool`: returns the pool, not yet entered; or the reason why there cannot be a pool. `answered_by`: the
        value of ALC_ANSWER."""
        self.limits = limits
        self.prompts_stamp: object = None  # of the strategies that the host was last shown as prompts
        self._answered_by = answered_by
        self._answering: Answering | None = None
        self._make_pool = make_pool
        self._pool: Pool | HomeUnusable | None = None
        self._is_wanted = anyio.Event()
        self._is_known = anyio.Event()

    async def run(self) -> None:
        try:
            if isinstance(self._make_pool, HomeUnusable):
                raise self._make_pool
            with anyio.move_on_after(_QUIET_S):
                await self._is_wanted.wait()
            await anyio.to_thread.run_sync(import_module, "algocline_mcp.pool.dispatch")  # requests are read meanwhile
            async with self._make_pool() as pool:
                self._publish(pool)
                await anyio.sleep_forever()
        except HomeUnusable as exc:
            self._publish(exc)
        except ImportError as exc:
            reason = f"algocline-mcp is installed incompletely: {exc}; install it again"
            self._publish(HomeUnusable(reason, code="internal"))

    def _publish(self, pool: "Pool | HomeUnusable") -> None:
        self._pool = pool
        self._is_known.set()

    async def wait_until_open(self) -> None:
        """Raises Unreachable where the disk with the home does not answer."""
        self._is_wanted.set()
        advice = "the disk with the home hangs; repair it, or set ALC_HOME to another disk and restart this server"
        await with_deadline(max(self.limits.grace_s, MIN_DISK_S), self._is_known.wait(), timeout_advice=advice)

    def pool(self) -> "Pool":
        """The pool of who calls: the one place in which every tool, resource and completion gets what it may reach.
        Raises HomeUnusable."""
        assert self._pool is not None, "call wait_until_open first"
        if isinstance(self._pool, HomeUnusable):
            # A new exception each time: one that is raised again and again grows its traceback.
            raise HomeUnusable(f"{self._pool}; then restart this server", code=self._pool.code)
        if owner := caller():
            from algocline_mcp.pool.owned import pool_of

            return pool_of(self._pool, owner)
        return self._pool

    @property
    def opened_pool(self) -> "Pool | None":
        """The pool, if a call has needed it by now and it could be opened."""
        return None if isinstance(self._pool, HomeUnusable) else self._pool

    def answering(self) -> "Answering | None":
        """What answers in the place of the host's model, if the operator wants it."""
        if self._answered_by and self._answering is None:
            from algocline_mcp.server.tool_call.answering import Answering

            self._answering = Answering(self._answered_by, self.limits.answer_jobs)
        return self._answering
