"""What a running server holds: its limits, and its pool, opened by the first call or when the host has been quiet.

The pool and all that it imports take 45 ms, a tenth of a whole start; what a host asks first, who the server is and
which tools it has, needs none of it.

Contract: `run` is a task of the server's whole life. `ready` returns when the pool is there, or when it is known why
there is none; only then `usable` may be called, which tells every call the same.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.server.tool_call.deadline import within

if TYPE_CHECKING:
    from algocline_mcp.pool.pool import Pool

_QUIET_S = 0.2
_LEAST_S = 0.5  # that a disk gets to answer, also where no grace is set


class ServerState:
    def __init__(self, limits: Limits, make: "Callable[[], AbstractAsyncContextManager[Pool]] | HomeUnusable") -> None:
        """`make`: the pool, not yet entered, or why there can be none."""
        self.limits = limits
        self._make = make
        self._pool: Pool | HomeUnusable | None = None
        self._is_wanted = anyio.Event()
        self._is_known = anyio.Event()

    async def run(self) -> None:
        try:
            if isinstance(self._make, HomeUnusable):
                raise self._make
            with anyio.move_on_after(_QUIET_S):
                await self._is_wanted.wait()
            await anyio.to_thread.run_sync(import_module, "algocline_mcp.pool.dispatch")  # the host goes on meanwhile
            async with self._make() as pool:
                self._know(pool)
                await anyio.sleep_forever()
        except HomeUnusable as exc:
            self._know(exc)
        except ImportError as exc:  # told by every call: hosts hide the stderr of a server that died
            self._know(HomeUnusable(f"this program is not whole: {exc}; install it anew", code="internal"))

    def _know(self, pool: "Pool | HomeUnusable") -> None:
        self._pool = pool
        self._is_known.set()

    async def ready(self) -> None:
        """Raises Unreachable where the home's disk does not answer."""
        self._is_wanted.set()
        again = "the disk with the home hangs; mend it, or set ALC_HOME elsewhere and restart this server"
        await within(max(self.limits.grace_s, _LEAST_S), self._is_known.wait(), unanswered=again)

    def usable(self) -> "Pool":
        """Raises HomeUnusable."""
        assert self._pool is not None, "ready comes first"
        if isinstance(self._pool, HomeUnusable):
            # A new one each time: an exception that is raised again and again grows its traceback.
            raise HomeUnusable(f"{self._pool}; then restart this server", code=self._pool.code)
        return self._pool
