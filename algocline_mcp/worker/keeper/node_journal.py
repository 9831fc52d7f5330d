"""The session's journal in the database that several servers share, as the keeper's node commits it.

A server with a database is a node: it listens on a Unix socket, and its workers commit through it. The keeper writes
each record to its file as ever, and the file is a cache then: a record counts when the node has said that it is
committed.

Contract. The first message, `open`, goes out with the constructor; its reply is awaited when it is first needed, so the
engine of a new session starts meanwhile. `commit` sends the records that were added since the last one and waits for
the reply, at most COMMIT_S. Methods raise StorageBroken where the node refuses (code `fenced`: another node holds the
session), does not answer, or has gone; then nothing may be acknowledged, and the process must end. A node that goes
ends its workers: the poll loop watches `fileno`, and calls `receive` when there is something to read.

Messages are JSON objects, one a line, each with one reply; cluster/commit_service.py is the other end. The lines of
the journal in them are those of a file without marks, and with `s` 0: what is committed is flushed.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from algocline_mcp.errors import ProtocolError, StorageBroken
from algocline_mcp.protocol import messages
from algocline_mcp.session.records import Record
from algocline_mcp.storage.journal_lines import encode
from algocline_mcp.storage.socket_paths import short_path

COMMIT_S = 60.0  # for one reply; the node gives up after commit_service.RECONNECT_S
_MESSAGE_BYTES = 1 << 22  # of lines in one message, or one longer line
_REPLY_BYTES = 1 << 16
_GONE = "the server of this worker has ended: ask again, another one goes on with the session"


class NodeJournal:
    def __init__(self, sid: str, part: str, path: str, *, is_counting: bool = False) -> None:
        """`path`: of the node's socket. `is_counting`: prompts count for the quota of their owner. Raises
        StorageBroken."""
        self._is_counting = is_counting
        self.is_gone = False
        self._opened: Record | None = None  # the reply to `open`
        self._taken = 0  # records of the file that were there at the start
        self._length = -1  # records that are committed; -1: not compared with those of the file yet
        self._uncommitted: list[str] = []
        self._prompts: list[int] = []  # that count, of each line
        self._lines = messages.LineBuffer(_REPLY_BYTES)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _translated(), short_path(Path(path)) as address:
                self._socket.settimeout(COMMIT_S)
                self._socket.connect(address)
            self._send({"op": "open", "sid": sid, "part": part})
        except StorageBroken:
            self.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    @property
    def epoch(self) -> int:
        """Under which this session is committed: the same for every message of this worker. Raises StorageBroken."""
        return int(self._open()["epoch"])

    def receive(self) -> None:
        """To be called when the descriptor is readable: takes the reply to `open`; everything else is the end of the
        node. Raises StorageBroken."""
        if self._opened is None:
            self._open()
            return
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return  # a commit of the same round of the poll loop has read the reply to `open`
        except OSError:
            pass
        self.is_gone = True

    def take(self, record: Record) -> None:
        """A record that was in the file at the start, in order. Marks are not committed. Raises StorageBroken."""
        if record["kind"] == "flushed":
            return
        if not self._taken or self._taken >= self._open()["length"]:
            # The header in any case: a new session does not wait here. The prompts of a new branch are its parent's.
            self._add(record, is_counting=bool(self._taken) and self._open()["length"] > 0)
        self._taken += 1

    def add(self, record: Record) -> None:
        """A record that was appended."""
        self._add(record, is_counting=True)

    def _add(self, record: Record, *, is_counting: bool) -> None:
        self._uncommitted.append(encode(record, 0)[:-1].decode("ascii"))
        counts = self._is_counting and is_counting and record["kind"] == "prompt"
        self._prompts.append(len(record["queries"]) if counts else 0)

    @property
    def has_uncommitted(self) -> bool:
        return bool(self._uncommitted)

    def commit(self, phase: str, summary: Record, project: str) -> None:
        """On return everything that was added is in the database. Raises StorageBroken. `summary`: the session's line
        of the list."""
        self._compare()
        while self._uncommitted:
            lines = list(_first(self._uncommitted, _MESSAGE_BYTES))
            message = {"op": "commit", "length": self._length, "lines": lines, "phase": phase, "summary": summary}
            if count := sum(self._prompts[: len(lines)]):
                message["prompts"] = count
            self._send(message if self._length else {**message, "project": project})
            self._length = int(self._reply()["length"])
            del self._uncommitted[: len(lines)], self._prompts[: len(lines)]

    def _open(self) -> Record:
        if self._opened is None:
            self._opened = self._reply()
        return self._opened

    def _compare(self) -> None:
        """The file has everything that the database has; what it has beyond that is to be committed."""
        if self._length >= 0:
            return
        length = int(self._open()["length"])
        if self._taken < length:
            raise StorageBroken(
                f"the file of this session has {self._taken} records, the database has {length}: ask again, the file "
                "is then written anew"
            )
        if length:
            del self._uncommitted[0], self._prompts[0]  # the header
        self._length = length

    def _send(self, message: Record) -> None:
        with _translated():
            self._socket.settimeout(COMMIT_S)
            self._socket.sendall(messages.encode({**message, "sent_at": time.monotonic()}))

    def _reply(self) -> Record:
        with _translated():
            reply = messages.decode(self._line(time.monotonic() + COMMIT_S))
        if "error" in reply:
            raise StorageBroken(str(reply["error"]), code=str(reply.get("code", StorageBroken.code)))
        return reply

    def _line(self, deadline: float) -> bytes:
        """Raises OSError, ProtocolError."""
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            chunk = self._socket.recv(_REPLY_BYTES)
            if not chunk:
                raise StorageBroken(_GONE)
            for line in self._lines.feed(chunk):  # one, for one message is under way
                return line
        raise TimeoutError


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        sentence = f"the server of this worker did not commit within {COMMIT_S:g} s: ask again"
        raise StorageBroken(sentence, code="database_unreachable") from exc
    except (OSError, ProtocolError) as exc:
        raise StorageBroken(_GONE) from exc


def _first(lines: list[str], limit: int) -> Iterator[str]:
    """The first lines, together at most `limit` bytes, or one."""
    size = 0
    for line in lines:
        size += len(line)
        if size > limit and size > len(line):
            return
        yield line
