"""Keeps the live workers of a home below its cap: before a launch the longest idle one is asked to hibernate.

Contract: `admit` returns when there is a place, and raises Refused `busy` when there was none by the deadline. Needs no
lock: the names of sockets are counted, so two servers may overshoot by a few. Only paused sessions are asked to go;
nothing is lost by it, and who needs one of them revives it. Calls of one server do not ask the same one twice.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, ProtocolError, Refused
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.protocol.messages import PoolRequest
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import journal
from algocline_mcp.storage.sockets import remove_stale_socket

if TYPE_CHECKING:
    from algocline_mcp.pool.pool import Pool

_LOOK_S = 0.002  # between two looks for a socket's name to go: the system tells only on Linux, and not for free
_LOOK_LONGER_S = 0.1  # when all of them compute


async def admit(pool: "Pool", sid: str, *, deadline: float) -> None:
    """A place for the worker of `sid`. On return it must be launched before anything is awaited.

    Somebody is asked to go at least once, also where the deadline is now: that takes `leave_s` at most.
    """
    if not pool.limits.pool_max:
        return
    last_s: float | None = None
    while len(live := live_sessions(pool.home) - {sid}) >= pool.limits.pool_max:
        last_s = last_s or max(deadline, anyio.current_time() + pool.limits.leave_s)
        made_room = await _ask_one_to_leave(pool, live, until_s=last_s)
        if anyio.current_time() >= (last_s if made_room else deadline):
            raise Refused(
                f"{len(live)} workers are busy in {pool.home.root}, which has room for {pool.limits.pool_max}: "
                "wait for one to pause, stop one with alc_stop, or raise ALC_POOL_MAX",
                code="busy",
            )
        if not made_room:
            await anyio.sleep(_LOOK_LONGER_S)


def live_sessions(home: Home) -> set[str]:
    """Sessions whose sockets have a name."""
    try:
        return {name[:-5] for name in os.listdir(home.pool) if name.endswith(".sock")}
    except OSError:
        return set()


async def _ask_one_to_leave(pool: "Pool", live: Iterable[str], *, until_s: float) -> bool:
    """Asks the longest idle one, then the next, and waits for a socket's name to go. False where none went."""
    candidates = [sid for sid in live if sid not in pool.leaving]
    for sid in _longest_idle_first(pool.home, candidates):
        pool.leaving.add(sid)  # promised before the first await
        try:
            if await anyio.to_thread.run_sync(_is_paused, pool.home, sid, limiter=pool.files):
                if await _hibernate(pool, sid):
                    return True
            elif _was_dead(pool.home, sid):
                return True
        finally:
            pool.leaving.discard(sid)
        if anyio.current_time() >= until_s:
            return False
    return False


def _longest_idle_first(home: Home, sids: Iterable[str]) -> list[str]:
    """By the last change of their journals; those that have none are about to finish and go by themselves."""
    changed: list[tuple[float, str]] = []
    for sid in sids:
        try:
            changed.append((os.stat(home.journal(sid)).st_mtime, sid))
        except OSError:
            continue
    return [sid for _, sid in sorted(changed)]


def _is_paused(home: Home, sid: str) -> bool:
    try:
        return fold(journal.read(home.journal(sid), is_for_host=False)).phase is Phase.PAUSED
    except (AlcError, FileNotFoundError):
        return False


def _was_dead(home: Home, sid: str) -> bool:
    """Takes away the name that a killed worker left, where no server saw its end."""
    remove_stale_socket(home, home.socket(sid))
    return not os.path.lexists(home.socket(sid))


async def _hibernate(pool: "Pool", sid: str) -> bool:
    """Whether its place is free now. One that does not answer, or is asked something just then, is left alone."""
    path = pool.home.socket(sid)
    try:
        with PoolClient.connect(path, line_bytes=pool.limits.line_bytes) as client:
            request = PoolRequest("shutdown", 1, sid, mode="make_room")
            if (await client.ask(request, timeout_s=pool.limits.leave_s)).error is not None:
                return False
    except FileNotFoundError:
        return True
    except ConnectionRefusedError:
        return _was_dead(pool.home, sid)
    except (TimeoutError, BlockingIOError, ProtocolError):
        return False
    except ConnectionError:
        pass  # it is leaving already
    with anyio.move_on_after(pool.limits.leave_s):
        while os.path.lexists(path):  # noqa: ASYNC110, ASYNC240
            await anyio.sleep(_LOOK_S)
        return True
    return False
