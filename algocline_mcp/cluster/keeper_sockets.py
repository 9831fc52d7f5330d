"""Connections of keepers to their node: one thread reads all of them, any thread replies.

Contract. A message is a JSON object on a line; a keeper sends the next one after it has the reply. What breaks this, or
does not read its reply within REPLY_S, is disconnected: its keeper leaves. Only processes of this user are served.
"""

import os
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from algocline_mcp.errors import ProtocolError
from algocline_mcp.protocol import messages
from algocline_mcp.storage.socket_paths import short_path
from algocline_mcp.storage.sockets import peer_uid

REPLY_S = 5.0
_MESSAGE_BYTES = 1 << 29  # a record has 1 << 28 at most, and its quotes are escaped
_RECEIVE_BYTES = 1 << 18
_BACKLOG = 256
_NO_DESCRIPTOR_S = 0.1  # until a connection is accepted again, where no descriptor is free


class KeeperSocket:
    """One connection. `sid` and `epoch`: of the session that it has opened."""

    def __init__(self, sock: socket.socket) -> None:
        self.sid = ""
        self.epoch = 0
        self.is_open = True
        self._socket = sock
        self._socket.settimeout(REPLY_S)
        self._lines = messages.LineBuffer(_MESSAGE_BYTES)
        self._is_asking = False  # a message waits for its reply
        self._lock = threading.Lock()  # a descriptor must not be closed while another thread writes to it

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> dict[str, Any] | None:
        """The message that one read completes. Raises OSError, ProtocolError."""
        chunk = self._socket.recv(_RECEIVE_BYTES)
        if not chunk:
            raise ConnectionResetError
        message = None
        for line in self._lines.feed(chunk):
            if self._is_asking:
                raise ProtocolError("one message at a time: the last one is not answered yet")
            self._is_asking = True
            message = messages.decode(line)
        return message

    def reply(self, message: dict[str, Any]) -> None:
        self._is_asking = False
        with self._lock, suppress(OSError):
            try:
                self._socket.sendall(messages.encode(message))
            except OSError:
                self.end()
                raise

    def end(self) -> None:
        """Any thread: the keeper sees the end of the connection, and the reading thread closes it."""
        self.is_open = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.end()
        with self._lock:
            self._socket.close()


class KeeperSockets:
    def __init__(
        self, path: Path, take: Callable[[KeeperSocket, dict[str, Any]], None], process: Callable[[], None]
    ) -> None:
        """`take`: gets each message, on the reading thread; what it raises ends the connection. `process`: carries out
        what was taken, when everything that had come is read. What comes while it waits is read after it."""
        self._path = path
        self._take = take
        self._process = process
        self._selector = selectors.DefaultSelector()
        self._keepers: dict[int, KeeperSocket] = {}  # by descriptor
        self._lock = threading.Lock()  # of `_keepers`
        self._is_ending = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._thread = threading.Thread(target=self._read, name="keepers", daemon=True)

    def start(self) -> None:
        """On return it listens. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path.unlink(missing_ok=True)
        os.fchmod(listener.fileno(), 0o600)
        with short_path(self._path) as address:
            listener.bind(address)
        os.chmod(self._path, 0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        self._selector.register(self._wake_read, selectors.EVENT_READ, lambda: None)
        self._thread.start()

    def end(self, sids: Collection[str] | None = None) -> None:
        """Ends the connections of these sessions, or all."""
        with self._lock:
            keepers = [keeper for keeper in self._keepers.values() if sids is None or keeper.sid in sids]
        for keeper in keepers:
            keeper.end()

    def stop(self, wait_s: float, cut: Callable[[], None]) -> None:
        """Ends everything; on return nobody listens. `cut`: ends what `process` waits for, after `wait_s`."""
        self._is_ending = True
        self._wake_write.send(b".")
        self._thread.join(wait_s)
        cut()
        self._thread.join()
        for key in list(self._selector.get_map().values()):  # not on the thread, which may end before it is woken
            key.fileobj.close()  # type: ignore[union-attr]  # sockets and keepers, all of which can be closed
        self._selector.close()
        self._wake_write.close()
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        while not self._is_ending:
            for key, _ in self._selector.select():
                key.data()
            self._process()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is free; the connection waits
            time.sleep(_NO_DESCRIPTOR_S)
            return
        if peer_uid(sock) not in (os.geteuid(), None):
            sock.close()
            return
        keeper = KeeperSocket(sock)
        with self._lock:
            self._keepers[sock.fileno()] = keeper
        self._selector.register(keeper, selectors.EVENT_READ, lambda: self._receive(keeper))

    def _receive(self, keeper: KeeperSocket) -> None:
        try:
            message = keeper.receive()
            if message is not None:
                self._take(keeper, message)
        except (OSError, ProtocolError):
            self._forget(keeper)
        except Exception:  # noqa: BLE001  one connection must not end the others
            traceback.print_exc(file=sys.stderr)
            self._forget(keeper)

    def _forget(self, keeper: KeeperSocket) -> None:
        self._selector.unregister(keeper)
        with self._lock:
            del self._keepers[keeper.fileno()]
        keeper.close()
