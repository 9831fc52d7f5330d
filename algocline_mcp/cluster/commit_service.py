"""Commits the records of all sessions that a node holds, for its keepers.

A keeper sends what it appended and waits. One thread reads what has come from all of them, commits it in one
transaction, and replies; what comes meanwhile is the next transaction. So many sessions that step at once share a flush
of the database's log, and a single one pays for no change of thread. Effects have threads of their own.

Contract. A session is committed under the epoch under which its keeper opened it, as long as the node holds it under
that epoch; the database compares once more. A session that another node has taken is refused (`fenced`), and dropped
from `holds`. Where the database is away, the connection is opened again and the same transaction is sent again, for
RECONNECT_S after the message was sent; then the keeper gets the error, and the session is dropped from `holds`, because
nobody knows whether it was committed: the next hold shows it. Every message gets a reply, or its connection ends.

Messages (worker/keeper/node_journal.py is the other end), and their replies:
  {op: open, sid, part}                                       {length, epoch}
  {op: commit, length, lines, phase, summary, project?, prompts?}       {length}
  {op: effect, …}                                             that of `Effects`
Any of them: `sent_at`, by the monotonic clock, which is the same in all processes of a machine; and {error, code}. A
connection for effects needs no `open`.
"""

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from algocline_mcp.cluster import group_commit
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.group_commit import Commit
from algocline_mcp.cluster.holds import Holds
from algocline_mcp.cluster.keeper_sockets import KeeperSocket, KeeperSockets
from algocline_mcp.cluster.link import Link
from algocline_mcp.errors import AlcError, StorageBroken

RECONNECT_S = 45.0  # less than node_journal.COMMIT_S: a database that was killed replays its log first
_EFFECT_THREADS = 2  # one effect is a transaction: a slow one delays neither a commit nor the next one
_BATCH_BYTES = 1 << 23  # of lines in one transaction, or one message
_STOP_S = 2.0  # a statement that is under way at the end


class Effects(Protocol):
    def perform(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any]:
        """Carries out one change of what strategies keep, in one transaction, and returns the reply. It may be called
        again with the same request: the change happens once. Raises StorageFailed, or errors of psycopg."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A message that waits for its reply."""

    keeper: KeeperSocket
    sid: str
    message: dict[str, Any]
    sent_at: float
    commit: Commit | None = None

    @property
    def size(self) -> int:
        return self.commit.size if self.commit is not None else 1


class CommitService:
    def __init__(self, database: Database, holds: Holds, path: Path, effects: Effects | None = None) -> None:
        """`path`: of the socket for keepers."""
        self._holds = holds
        self._effects = effects
        self._ending = threading.Event()
        self._sockets = KeeperSockets(path, self._take, self._process)
        self._taken: list[Request] = []  # at most one of each connection
        self._link = Link(database, self._ending)
        self._effect_requests: SimpleQueue[Request | None] = SimpleQueue()  # None: a thread leaves
        self._effect_links = [Link(database, self._ending) for _ in range(_EFFECT_THREADS)]
        self._threads = [
            threading.Thread(target=self._perform_all, args=(link,), name="effects", daemon=True)
            for link in self._effect_links
        ]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Started when it listens. When it is cancelled, all keepers of the node leave. Raises OSError."""
        self.start()
        try:
            task_status.started()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.stop)

    def start(self) -> None:
        """On return it listens. Raises OSError."""
        self._sockets.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends all connections. What is under way at the database may be committed, and is not acknowledged."""
        self._ending.set()
        for _ in self._threads:
            self._effect_requests.put(None)
        self._sockets.stop(_STOP_S, self._link.cut)
        for thread, link in zip(self._threads, self._effect_links, strict=True):
            thread.join(_STOP_S)
            link.cut()
            thread.join()
        for link in (self._link, *self._effect_links):
            link.close()

    def end_keepers(self, sids: Collection[str] | None = None) -> None:
        """The keepers of these sessions, or all, leave: they see the end of their connection. Any thread; no wait."""
        self._sockets.end(sids)

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, keeper: KeeperSocket, message: dict[str, Any]) -> None:
        """Raises what ends the connection: KeyError, TypeError, ValueError."""
        op, sent_at, commit = message["op"], float(message["sent_at"]), None
        if op == "commit":
            commit = self._commit_of(keeper, message)
        else:
            keeper.sid = str(message["sid"])
        request = Request(keeper, keeper.sid, message, sent_at, commit)
        if op == "effect":
            self._effect_requests.put(request)
            return
        if op == "open":
            hold = self._holds.of(keeper.sid)
            keeper.epoch = hold.epoch if hold is not None else 0
        self._taken.append(request)

    def _commit_of(self, keeper: KeeperSocket, message: dict[str, Any]) -> Commit:
        hold = self._holds.of(keeper.sid)
        return Commit(
            sid=keeper.sid,
            epoch=keeper.epoch,
            length=int(message["length"]),
            lines=message["lines"],
            phase=str(message["phase"]),
            summary=json.dumps(message["summary"]),
            owner=hold.owner if hold is not None else "",
            project=str(message.get("project", "")),
            prompts=int(message.get("prompts", 0)),
        )

    def _process(self) -> None:
        taken, self._taken = self._taken, []
        for requests in _batches(taken):
            try:
                self._carry_out([request for request in requests if request.keeper.is_open])
            except Exception:  # noqa: BLE001  the keepers leave, and are revived
                traceback.print_exc(file=sys.stderr)
                for request in requests:
                    request.keeper.end()

    def _carry_out(self, requests: Sequence[Request]) -> None:
        opening = [request for request in requests if request.commit is None]
        if opening:
            self._open(opening)
        commits = [request for request in requests if request.commit is not None]
        if commits:
            self._commit(commits)

    def _open(self, requests: Sequence[Request]) -> None:
        try:
            rows = self._link.run(
                lambda connection: group_commit.lengths(connection, [request.sid for request in requests]),
                _left(requests),
            )
        except AlcError as exc:
            for request in requests:
                self._refuse(request, exc)
            return
        for request in requests:
            opened = request.keeper.epoch
            epoch, length = rows.get(request.sid, (opened, 0))
            if opened and epoch == opened:
                request.keeper.reply({"length": length, "epoch": epoch})
            else:
                self._refuse_fenced(request, opened)

    def _commit(self, requests: Sequence[Request]) -> None:
        held: list[Request] = []
        for request in requests:
            if self._is_held(request):
                held.append(request)
            else:
                self._refuse_fenced(request, request.keeper.epoch)
        if not held:
            return
        commits = [request.commit for request in held if request.commit is not None]
        left_s = _left(held)
        try:
            committed = self._link.run(
                lambda connection: group_commit.commit(connection, self._holds.node, commits), left_s
            )
        except AlcError as exc:
            if len(held) > 1 and exc.code != "database_unreachable" and left_s() > 0:
                for request in held:  # one of them is the reason; the others go on
                    self._commit([request])
                return
            for request in held:
                self._holds.drop(request.sid, request.keeper.epoch)
                self._refuse(request, exc)
            return
        for request, commit in zip(held, commits, strict=True):
            if commit.sid in committed:
                request.keeper.reply({"length": commit.end})
            else:
                self._refuse_fenced(request, commit.epoch)

    def _perform_all(self, link: Link) -> None:
        """On a thread of effects."""
        while (request := self._effect_requests.get()) is not None and not self._ending.is_set():
            try:
                reply = link.run(partial(self._effect, request.message), _left([request]))
            except AlcError as exc:
                self._refuse(request, exc)
            except Exception:  # noqa: BLE001  the top of a thread: the keeper leaves, and is revived
                traceback.print_exc(file=sys.stderr)
                request.keeper.end()
            else:
                request.keeper.reply(reply)

    def _effect(self, message: dict[str, Any], connection: Connection) -> dict[str, Any]:
        if self._effects is None:
            raise StorageBroken("this server keeps no state of strategies in its database: start a newer one")
        return self._effects.perform(connection, message)

    def _is_held(self, request: Request) -> bool:
        hold = self._holds.of(request.sid)
        return hold is not None and hold.epoch == request.keeper.epoch

    def _refuse_fenced(self, request: Request, epoch: int) -> None:
        self._holds.drop(request.sid, epoch)
        sentence = f"session {request.sid} is held by another server now, nothing was written: ask again"
        self._refuse(request, StorageBroken(sentence, code="fenced"))

    @staticmethod
    def _refuse(request: Request, exc: AlcError) -> None:
        request.keeper.reply({"error": str(exc), "code": exc.code})


def _batches(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """In their order; in each at most one of a session, and at most _BATCH_BYTES, or one request."""
    batch, size = dict[str, Request](), 0
    for request in requests:
        if batch and (request.sid in batch or size + request.size > _BATCH_BYTES):
            yield list(batch.values())
            batch, size = {}, 0
        batch[request.sid] = request
        size += request.size
    if batch:
        yield list(batch.values())


def _left(requests: Sequence[Request]) -> Callable[[], float]:
    deadline = min(request.sent_at for request in requests) + RECONNECT_S
    return lambda: deadline - time.monotonic()
