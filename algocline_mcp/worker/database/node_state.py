"""Calls of alc.state and alc.card that the node of this keeper carries out: in a database that several nodes share.

Contract: as SharedState of calls.py. The keeper sends each call over a connection of its own, `{op: "effect", …}` (see
cluster/effects.py), and gets `{outcome}`, `{differs}` or `{error, code}`, before it sends the next one. It does not
block: `attempt` waits for the node at most TURN_S (a connection CONNECT_S), and is then due again, so clients
of the keeper are answered meanwhile. A reply that comes later is taken at once.

A call whose reply is lost has happened or not. Then the keeper must end (StorageBroken): nothing of it is acknowledged,
and the replay, on whichever node, sends it again with its mark and gets what the first one did. A node has replied
within EFFECT_S, or is broken: it gives up itself when its database has been away for a minute.
"""

import math
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from algocline_mcp.errors import ProtocolError, StorageBroken
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import LineBuffer
from algocline_mcp.session.records import Record
from algocline_mcp.storage.socket_paths import short_path
from algocline_mcp.worker.database.call_context import EffectMark
from algocline_mcp.worker.database.calls import PendingCall
from algocline_mcp.worker.database.connection import MarkDiffers, digest
from algocline_mcp.worker.lowlevel.failpoints import fail_point

TURN_S = 0.05
CONNECT_S = 5.0
EFFECT_S = 120.0  # RECONNECT_S of cluster/rows.py, and one transaction that the database ends (connection.py)
_CHANGED_NOTHING = "storage_failed"  # code of an error after which the session goes on
_RECEIVE_BYTES = 64 * 1024


@dataclass(slots=True)
class _Request:
    """A call under way. Its engine may have died meanwhile: nobody asks for the reply then."""

    pending_call: PendingCall
    message: Record
    deadline: float = math.inf  # monotonic; infinite: not sent yet, an earlier call has no reply
    reply: Record | None = None


class NodeState:
    def __init__(self, path: str, line_bytes: int, session: Callable[[], Record]) -> None:
        """`path`: the socket of the node. `session`: `{sid, epoch, owner}`, which each call names."""
        self._path = path
        self._line_bytes = line_bytes
        self._session = session
        self._link: _Link | None = None
        self._requests: list[_Request] = []  # in the order in which they are sent

    @property
    def is_open(self) -> bool:
        return self._link is not None

    def attempt(self, pending_call: PendingCall, namespace: str, mark: EffectMark | None) -> Record | None:
        """Returns `{result}`, `{error}`, or None where `pending_call` is to be attempted again.

        Raises MarkDiffers and StorageBroken.
        """
        if self._link is None:
            self._link = _Link(self._path, self._line_bytes)
        request = next((sent for sent in self._requests if sent.pending_call is pending_call), None)
        if request is None:
            request = _Request(pending_call, self._message(pending_call, namespace, mark))
            self._requests.append(request)
        # A turn of the keeper waits once, however many engines have a call under way.
        is_next = all(earlier.reply for earlier in self._requests[: self._requests.index(request)])
        self._receive(self._link, request, TURN_S if is_next else 0)
        if request.reply is None:
            now = time.monotonic()
            if now > request.deadline:
                raise StorageBroken(f"the node at {self._path} has not replied for {EFFECT_S:g} s: start it again")
            pending_call.retry_at = now if is_next else now + TURN_S
            return None
        self._requests.remove(request)
        return self._outcome(request.reply, pending_call, mark)

    def _message(self, pending_call: PendingCall, namespace: str, mark: EffectMark | None) -> Record:
        call = pending_call.call
        message = self._session() | {"op": "effect", "namespace": namespace, "name": call.name, "args": call.args}
        if mark is not None:
            message |= {"stream": mark.stream, "n": mark.n, "digest": digest(namespace, call)}
        return message

    def _receive(self, link: "_Link", request: _Request, limit_s: float) -> None:
        """Takes the replies that are there; waits for that of `request`."""
        end = time.monotonic() + limit_s
        while request.reply is None:
            first = next(waiting for waiting in self._requests if waiting.reply is None)
            if first.deadline == math.inf:
                first.deadline = time.monotonic() + EFFECT_S
                link.send(messages.encode({**first.message, "sent_at": time.monotonic()}))
            left_s = max(0.0, end - time.monotonic())
            for line in link.exchange(left_s):
                if first.reply is not None:
                    raise StorageBroken(f"the node at {self._path} replies to nothing: start it again")
                first.reply = _decoded(line, self._path)
                first.pending_call.retry_at = time.monotonic()
            if not left_s and first.reply is None:
                return

    @staticmethod
    def _outcome(reply: Record, pending_call: PendingCall, mark: EffectMark | None) -> Record:
        if "differs" in reply:
            raise MarkDiffers(reply["differs"])
        if "outcome" not in reply:
            sentence, code = str(reply.get("error")), str(reply.get("code"))
            if code != _CHANGED_NOTHING:
                raise StorageBroken(sentence, code=code)
            return {"error": f"alc.{pending_call.call.name}: {sentence}"}
        if mark is not None:
            fail_point("effect.replied")
        outcome: Record = reply["outcome"]
        return outcome

    def forget(self, sid: str, is_unfinished: Callable[[str], bool]) -> None:
        """Nothing is left to do: the commit that finished the session has removed its marks."""

    def close(self) -> None:
        """Calls under way are sent again by their next attempt."""
        if self._link is not None:
            self._link.close()
            self._link = None
            self._requests.clear()


def _decoded(line: bytes, path: str) -> Record:
    try:
        return messages.decode(line)
    except ProtocolError as exc:
        raise StorageBroken(f"the node at {path} broke the protocol ({exc}): start it again") from exc


class _Link:
    """A connection to the node. No method blocks, except `exchange` for as long as it is told."""

    def __init__(self, path: str, line_bytes: int) -> None:
        """Raises StorageBroken."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONNECT_S)  # connect waits while the node's queue of connections is full
        self._lines = LineBuffer(line_bytes)
        self._out = bytearray()
        try:
            with short_path(Path(path)) as address:
                self._socket.connect(address)
        except OSError as exc:
            self._socket.close()
            raise self._lost(exc) from exc
        self._socket.setblocking(False)

    def send(self, line: bytes) -> None:
        self._out += line
        self._write()

    def _write(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError as exc:
            raise self._lost(exc) from exc

    def exchange(self, limit_s: float) -> Iterator[bytes]:
        """Waits until the node reads or writes; yields the lines that one read completes. Raises StorageBroken."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        events = poll.poll(limit_s * 1000)
        if not events:
            return
        self._write()
        if not events[0][1] & ~select.POLLOUT:
            return
        try:
            chunk = self._socket.recv(_RECEIVE_BYTES)
        except OSError as exc:
            raise self._lost(exc) from exc
        if not chunk:
            raise self._lost(None)
        try:
            yield from self._lines.feed(chunk)
        except ProtocolError as exc:
            raise StorageBroken(f"the node at {self._path} broke the protocol ({exc}): start it again") from exc

    def _lost(self, exc: OSError | None) -> StorageBroken:
        reason = "has gone" if exc is None else f"cannot be reached ({exc.strerror or exc})"
        return StorageBroken(f"the node at {self._path} {reason}: start it again")

    def close(self) -> None:
        self._socket.close()
