"""A server among several that share a database: its lease, the sessions that it holds, and the copies in its home.

Contract: as pool/node.py. A node that has lost its lease (it was frozen, or cut off) gives up all that it held, and
ends its workers: another node may have gone on with their sessions, and whatever they still send is refused. While the
lease holds, the database is not asked about a session that has a worker here.

Taking hold, copying and giving back go on in the background where the call that asked for them is cancelled, one at a
time for each session. So what this node knows and what the database says differ by a lost connection only; then the
lease ends what this node does not know of.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from algocline_mcp.cluster import ownership, scrubbing, session_list
from algocline_mcp.cluster.commit_service import CommitService
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.copies import Copies
from algocline_mcp.cluster.effects import Effects
from algocline_mcp.cluster.forwarding import Forwarding
from algocline_mcp.cluster.holds import Hold, Holds, node_name
from algocline_mcp.cluster.lease import Lease
from algocline_mcp.cluster.ownership import Standing
from algocline_mcp.cluster.state_rows import StateRows
from algocline_mcp.cluster.statements import Statements
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, JournalCorrupt, Refused, StorageFailed, Unreachable
from algocline_mcp.history.database_reader import StateReader
from algocline_mcp.pool.node import Forwarded, HoldLost, not_found, socket_of
from algocline_mcp.pool.owned import pool_of
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.replies import OnProgress, PoolReply
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Session

_CONNECTIONS = 4  # of the calls, beside one for the lease and those that commit
_COPY_S = 60.0  # one session of 256 MiB
_READY_S = 3.0  # a load balancer is answered within this
_ATTEMPTS = 3  # to take hold, where the session changes between two statements

Value = TypeVar("Value")


class Node:
    """Made before the server listens; `run` begins when its pool opens."""

    def __init__(self, database: Database, home: Home, limits: Limits) -> None:
        self.database = database
        self.lease_s = limits.node_lease_s
        self.name = node_name()
        self.holds = Holds(self.name)
        self.commits = CommitService(database, self.holds, socket_of(home), Effects(database, limits))
        self.forwarding = Forwarding(self, database, name=self.name, lease_s=self.lease_s)
        self._limits = limits
        self._copies = Copies()
        self._calls = Statements(database, connections=_CONNECTIONS)
        self._lease = Lease(database, self.name, self.lease_s, self._give_up)
        self._new: set[str] = set()  # sessions of which the database may have nothing yet
        self._locks: dict[str, anyio.Lock] = {}
        self._waiting: Counter[str] = Counter()  # tasks that use the lock of a session

    # ── the life of the node ──────────────────────────────────────────────────────────────────────────────

    async def run(self, pool: Pool, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.commits.run)
            tasks.start_soon(self._lease.beat)
            tasks.start_soon(self.forwarding.run, pool)
            task_status.started()

    def _give_up(self) -> None:
        """Before a new lease begins: from then on what was held under the old one would look held."""
        self.holds.drop_all()
        self._new.clear()
        self.commits.end_keepers()

    async def check(self) -> None:
        await self._lease.check()

    async def is_ready(self) -> bool:
        with anyio.move_on_after(_READY_S), suppress(AlcError):
            await self._lease.check()
            self._calls.try_again()  # who is told that this node is ready is not refused for a failure before
            return self._lease.is_current
        return False

    async def close(self, pool: Pool) -> None:
        sids = self.holds.drop_all()
        self.commits.end_keepers()
        with anyio.move_on_after(pool.limits.leave_s):
            for sid in sids:
                await pool.wait_for_exit(sid, pool.limits.leave_s)
        await self._lease.leave()
        self._calls.close()

    # ── holding sessions ──────────────────────────────────────────────────────────────────────────────────

    async def begin(self, pool: Pool, sid: str) -> None:
        await self._lease.require()
        epoch = await self._calls.run(ownership.next_epoch)
        self._new.add(sid)
        self.holds.take(sid, Hold(epoch, pool.owner))

    async def hold(self, pool: Pool, sid: str) -> str:
        await self._lease.require()
        if self._has(pool, sid) and pool.has_worker(sid):
            return ""
        return await self._alone(pool, sid, partial(self._hold, pool, sid))

    def _has(self, pool: Pool, sid: str) -> bool:
        hold = self.holds.of(sid)
        return hold is not None and hold.owner == pool.owner

    async def _hold(self, pool: Pool, sid: str) -> str:
        if self._has(pool, sid) and pool.has_worker(sid):
            return ""
        for _ in range(_ATTEMPTS):
            taken = await self._calls.run(partial(ownership.take, node=self.name, owner=pool.owner, sid=sid))
            if taken is not None:
                state = (taken.epoch, taken.length)
                if self._copies.is_current(pool.home, sid, (taken.before, taken.length), is_finished=False):
                    self._copies.note(pool.home, sid, state)
                else:
                    await self._copy(pool, sid, state, is_finished=False, epoch=taken.epoch)
                self._new.discard(sid)
                self.holds.take(sid, Hold(taken.epoch, pool.owner))
                return ""
            standing = await self._standing(pool, sid)
            if standing is None and sid in self._new and self._has(pool, sid):
                return ""  # its worker has not committed anything yet
            standing = self._required(pool, sid, standing)
            if standing.holder not in ("", self.name):
                return standing.holder
            if standing.is_finished:
                await self._refresh_from(pool, sid, standing)
                return ""
            if standing.is_leased:
                raise Refused(
                    f"session {sid} is being written by another program (alc export): try again in 30 s", code="busy"
                )
            await self._lease.renew()  # or another node has just given it back
        raise StorageFailed(f"session {sid} changes hands in {self.database.label}: try again")

    def launching(self, pool: Pool, sid: str) -> None:
        self._copies.forget(pool.home, sid)

    async def refresh(self, pool: Pool, sid: str) -> None:
        if not (self._has(pool, sid) and pool.has_worker(sid)):
            await self._alone(pool, sid, partial(self._refresh, pool, sid))

    async def _refresh(self, pool: Pool, sid: str) -> None:
        if self._has(pool, sid) and (sid in self._new or pool.has_worker(sid)):
            return
        await self._refresh_from(pool, sid, self._required(pool, sid, await self._standing(pool, sid)))

    async def _refresh_from(self, pool: Pool, sid: str, standing: Standing) -> None:
        state = (standing.epoch, standing.length)
        if not self._copies.is_current(pool.home, sid, state, is_finished=standing.is_finished):
            await self._copy(pool, sid, state, is_finished=standing.is_finished)

    async def _standing(self, pool: Pool, sid: str) -> Standing | None:
        return await self._calls.run(partial(ownership.standing, owner=pool.owner, sid=sid))

    def _required(self, pool: Pool, sid: str, standing: Standing | None) -> Standing:
        if standing is None:
            self._copies.remove(pool.home, sid)  # of a session that another node has deleted
            raise Refused(not_found(sid), code="not_found")
        return standing

    async def _copy(
        self, pool: Pool, sid: str, state: tuple[int, int], *, is_finished: bool, epoch: int | None = None
    ) -> None:
        """`epoch`: under which this node has just taken hold, which it gives back where the copy fails."""
        try:
            pool.require_home()
            write = partial(self._copies.write, home=pool.home, sid=sid, state=state, is_finished=is_finished)
            if await self._calls.run(write, limit_s=_COPY_S):
                return
            self.commits.end_keepers([sid])  # of an earlier hold: it has noticed nothing yet
            await pool.wait_for_exit(sid, pool.limits.leave_s)
            if not await self._calls.run(write, limit_s=_COPY_S):
                raise StorageFailed(f"a worker of this node still has the file of session {sid}: ask again")
        except BaseException as exc:
            if epoch is not None:
                self._lease.owe(sid, epoch)
                pool.in_background(self._pay)
            if isinstance(exc, JournalCorrupt) and await self._standing(pool, sid) is None:
                self._required(pool, sid, None)  # it was deleted while it was read
            raise

    async def _pay(self) -> None:
        with suppress(AlcError):
            await self._lease.renew()

    def give_back_soon(self, pool: Pool, sid: str) -> None:
        if not self._is_used(pool, sid) and self._has(pool, sid):
            pool.in_background(self._give_back_alone, pool, sid)

    @staticmethod
    def _is_used(pool: Pool, sid: str) -> bool:
        return sid in pool.calls or pool.has_worker(sid)

    async def _give_back_alone(self, pool: Pool, sid: str) -> None:
        async with self._locked(sid):
            hold = self.holds.of(sid)
            if hold is None or hold.owner != pool.owner or self._is_used(pool, sid):
                return
            self.holds.drop(sid, hold.epoch)
            self._new.discard(sid)
            try:
                length = await self._calls.run(partial(ownership.give_back, node=self.name, sid=sid, epoch=hold.epoch))
            except AlcError:
                self._lease.owe(sid, hold.epoch)
                return
            if length is not None:
                confirm = partial(self._copies.confirm, pool.home, sid, (hold.epoch, length))
                await anyio.to_thread.run_sync(confirm, limiter=pool.files)

    # ── one thing at a time with a session, also where the call is cancelled ──────────────────────────────

    @asynccontextmanager
    async def _locked(self, sid: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(sid, anyio.Lock())
        self._waiting[sid] += 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[sid] -= 1
            if not self._waiting[sid]:
                del self._waiting[sid], self._locks[sid]

    async def _alone(self, pool: Pool, sid: str, work: Callable[[], Awaitable[Value]]) -> Value:
        values: list[Value] = []
        errors: list[Exception] = []
        is_done = anyio.Event()

        async def work_alone() -> None:
            try:
                async with self._locked(sid):
                    values.append(await work())
            except Exception as exc:  # noqa: BLE001 - the call raises it
                errors.append(exc)
            finally:
                is_done.set()
                self.give_back_soon(pool, sid)  # nobody may be waiting any more

        pool.in_background(work_alone)
        await is_done.wait()
        if values:
            return values[0]
        raise errors[0] if errors else Unreachable(f"this server is stopping: ask again about session {sid}")

    # ── ends of sessions; lists ───────────────────────────────────────────────────────────────────────────

    async def elsewhere(self, pool: Pool, request: Forwarded, on_progress: OnProgress | None) -> PoolReply | None:
        return await self.forwarding.elsewhere(pool, request, on_progress)

    async def finish(self, pool: Pool, sid: str, session: Session, records: Sequence[Record]) -> None:
        hold, state = self.holds.of(sid), self._copies.state_of(pool.home, sid)
        if hold is None or state is None or state[0] != hold.epoch:
            raise HoldLost
        epoch, length = state
        work = partial(ownership.finish, epoch=epoch, length=length, session=session, records=records)
        if not await self._calls.run(work):
            raise HoldLost
        self.holds.drop(sid, epoch)
        self._copies.remove(pool.home, sid)

    async def delete(self, pool: Pool, sid: str) -> None:
        if not await self._calls.run(partial(ownership.delete, node=self.name, owner=pool.owner, sid=sid)):
            raise HoldLost
        self.holds.drop(sid)
        self._copies.forget(pool.home, sid)

    async def list_unfinished(self, pool: Pool, *, limit: int | None, cursor: str | None) -> dict[str, Any]:
        size = self._size(limit)
        return await self._calls.run(partial(session_list.unfinished_page, owner=pool.owner, size=size, cursor=cursor))

    async def list_finished(self, pool: Pool, *, limit: int | None, cursor: str | None) -> dict[str, Any]:
        size = self._size(limit)
        return await self._calls.run(partial(session_list.finished_page, owner=pool.owner, size=size, cursor=cursor))

    def _size(self, limit: int | None) -> int:
        return max(1, min(limit or self._limits.listed, self._limits.listed_max))

    async def ids_of(self, pool: Pool, beginning: str) -> list[str]:
        return await self._calls.run(partial(session_list.ids, owner=pool.owner, beginning=beginning))

    async def usage(self, pool: Pool) -> tuple[int, int]:
        return await self._calls.run(partial(session_list.usage, owner=pool.owner))

    async def prompts_today(self, pool: Pool) -> int:
        return await self._calls.run(partial(session_list.prompts_today, owner=pool.owner))

    def state_reader(self, owner: str) -> StateReader:
        return StateRows(self._calls.query, owner)

    async def scrub(self, pool: Pool, sid: str) -> None:
        if not pool.has_worker(sid):
            work = partial(scrubbing.scrub, node=self.name, owner=pool.owner, sid=sid, keep=pool.keep)
            await self._calls.run(work, limit_s=_COPY_S)
            self._copies.forget(pool.home, sid)

    async def apply_retention(self, pool: Pool, days: float) -> None:
        if days:
            await self._calls.run(partial(ownership.delete_expired, days=days))
        if pool.keep != "all":
            for sid, owner in await self._calls.run(partial(scrubbing.waiting, node=self.name)):
                with suppress(JournalCorrupt, IllegalRecord):
                    await self.scrub(pool_of(pool, owner), sid)
            await self._calls.run(partial(scrubbing.remove_old_copies, home=pool.home))
