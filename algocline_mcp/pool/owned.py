"""Pools of principals: each reaches the part of the home that belongs to one of them, and nothing else of it.

Contract: `pool_of(pool, owner)` is `pool` itself for the user. That of a principal shares with it the fork server, the
watched workers, the registry, the limits and the tasks; home and quotas are its own. It is made without I/O; its first
session makes the directories. As a session is looked up in the part alone, that of somebody else is not found, by the
same steps and in the same words as one that does not exist.
"""

from dataclasses import replace

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
        self.usage = retention.Usage()
        self._counted_at = float("-inf")
        self._is_home_usable = False

    async def _remove_expired(self) -> None:
        await self.user._remove_expired()  # of all parts

    async def refuse_if_full(self) -> None:
        """Raises Refused over a quota, and where the home is full. Journals are counted again after `sweep_s`, and
        before a refusal; between, what was started here is added."""
        self.refuse_over_prompts()
        limits = self.limits
        if limits.owner_sessions or limits.owner_bytes:
            is_old = anyio.current_time() - self._counted_at >= limits.sweep_s
            if is_old or self._excess() is not None:
                self.usage = await self._counted()
                self._counted_at = anyio.current_time()
            if (excess := self._excess()) is not None:
                cure = 'delete some with alc_stop(mode="delete"), also finished ones'
                raise Refused(f"your sessions {excess}: {cure}", code="quota")
            self.usage = replace(self.usage, sessions=self.usage.sessions + 1)
        try:
            await self.user.refuse_if_full()
        except Refused as exc:  # its sentence is for the operator
            raise Refused("this server has no room for another session: tell its operator", code=exc.code) from exc

    async def _counted(self) -> retention.Usage:
        if self.node is not None:
            return retention.Usage(*await self.node.usage(self))
        return await anyio.to_thread.run_sync(retention.usage_of, self.home, limiter=self.files)

    def _excess(self) -> str | None:
        limits, usage = self.limits, self.usage
        if 0 < limits.owner_sessions <= usage.sessions:
            return f"are {usage.sessions}, at most {limits.owner_sessions} are kept"
        if 0 < limits.owner_bytes <= usage.bytes:
            return f"take {usage.bytes / MIB:.1f} MiB, at most {limits.owner_bytes / MIB:.1f} are kept"
        return None

    def refuse_over_prompts(self) -> None:
        allowed = self.limits.owner_prompts
        if allowed and (asked := prompt_count.today(self.home)) >= allowed:
            raise Refused(
                f"your strategies have asked {asked} prompts today, at most {allowed} in a day: go on after 00:00 UTC, "
                "nothing is lost",
                code="quota",
            )
