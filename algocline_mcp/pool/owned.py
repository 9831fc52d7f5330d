"""Pools of principals: each reaches the part of the home that belongs to one of them, and nothing else of it.

Contract: `pool_of(pool, owner)` is `pool` itself for the user. That of a principal shares with it the fork server, the
watched workers, the registry, the limits and the tasks; home and quotas are its own. It is made without I/O; its first
session makes the directories. As a session is looked up in the part alone, that of somebody else is not found, by the
same steps and in the same words as one that does not exist.

Quotas. A new session takes its place before anything is awaited that could let another one pass: while one call counts
the journals, the others wait. A place is counted from then on; once the journal is on the disk, or the start has
failed, the next count of the disk says what became of it. There is one before each refusal, so a place that nobody
uses refuses nobody.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread

from algocline_mcp.config.limits import MIB
from algocline_mcp.errors import Refused
from algocline_mcp.history import retention
from algocline_mcp.pool.pool import Pool
from algocline_mcp.storage import prompt_count

_POOLS_KEPT = 1000  # 2 KiB each; one that is made again counts again and prepares its directories again


def pool_of(pool: Pool, owner: str) -> Pool:
    if not owner:
        return pool
    if (owned := pool.owned.get(owner)) is None:
        if len(pool.owned) >= _POOLS_KEPT:
            del pool.owned[next(iter(pool.owned))]
        owned = pool.owned[owner] = OwnedPool(pool, owner)
    return owned


class OwnedPool(Pool):
    def __init__(self, user: Pool, owner: str) -> None:
        self.__dict__.update(user.__dict__)  # what is not replaced below is shared
        self.user = user
        self.owner = owner
        self.home = user.home.of(owner)
        self.usage = retention.Usage()  # at the last count, without the sessions in `_begun`
        self._counted_at = float("-inf")
        self._counting = anyio.Lock()
        self._begun: set[str] = set()  # ids of sessions that took a place since the last count
        self._beginning: set[str] = set()  # those of them whose journal may not be on the disk yet
        self._is_home_usable = False

    async def _remove_expired(self) -> None:
        await self.user._remove_expired()  # of all parts

    @asynccontextmanager
    async def room_for(self, sid: str) -> AsyncIterator[None]:
        """As of any pool. Raises Refused over a quota, too."""
        await self.refuse_over_prompts()
        try:
            if self.limits.owner_sessions or self.limits.owner_bytes:
                async with self._counting:
                    await self._take_place(sid)
            await self.refuse_if_full()
            yield
        finally:
            self._beginning.discard(sid)

    async def _take_place(self, sid: str) -> None:
        """Journals are counted again after `sweep_s`, and before a refusal; between, what was started here is added."""
        is_old = anyio.current_time() - self._counted_at >= self.limits.sweep_s
        if is_old or self._excess() is not None:
            self._begun &= self._beginning
            self.usage = await self._counted()
            self._counted_at = anyio.current_time()
        if (excess := self._excess()) is not None:
            cure = 'delete some with alc_stop(mode="delete"), also finished ones, or values with alc.state.delete'
            raise Refused(f"your sessions {excess}: {cure}", code="quota")
        self._begun.add(sid)
        self._beginning.add(sid)

    async def refuse_if_full(self) -> None:
        try:
            await self.user.refuse_if_full()
        except Refused as exc:  # its sentence is for the operator
            raise Refused("this server has no room for another session: tell its operator", code=exc.code) from exc

    async def _counted(self) -> retention.Usage:
        if self.node is not None:
            return retention.Usage(*await self.node.usage(self))
        count = partial(retention.usage_of, self.home, frozenset(self._begun))
        return await anyio.to_thread.run_sync(count, limiter=self.files)

    def _excess(self) -> str | None:
        limits, usage = self.limits, self.usage
        sessions = usage.sessions + len(self._begun)
        if 0 < limits.owner_sessions <= sessions:
            return f"are {sessions}, at most {limits.owner_sessions} are kept"
        if 0 < limits.owner_bytes <= usage.bytes:
            taken, limit = usage.bytes / MIB, limits.owner_bytes / MIB
            return f"and what they keep take {taken:.1f} MiB, at most {limit:.1f} are kept"
        return None

    async def refuse_over_prompts(self) -> None:
        allowed = self.limits.owner_prompts
        if allowed and (asked := await self.prompts_today()) >= allowed:
            raise Refused(
                f"your strategies have asked {asked} prompts today, at most {allowed} in a day: go on after 00:00 UTC, "
                "nothing is lost",
                code="quota",
            )

    async def prompts_today(self) -> int:
        return prompt_count.today(self.home) if self.node is None else await self.node.prompts_today(self)
