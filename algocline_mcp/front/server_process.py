"""The server as the front sees it: a child process behind a stream socket.

Contract. Nothing blocks. `receive` returns whole lines, and None when the process is gone; then `end` reaps it. The
server ends by itself when its input is closed, also when this process is killed: the kernel closes the socket.
"""

import os
import signal
import socket
import sys
from collections import deque

READ_BYTES = 64 * 1024  # a buffer of 128 KiB or more is mapped and unmapped for each read: 20 µs
# A killed process is gone within microseconds; one that a hanging disk holds must not hold the front.
_REAP_S = 1.0


class ServerProcess:
    def __init__(self) -> None:
        """Raises OSError where no process can be started."""
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        self._rest = b""  # of the line that is being sent
        self._parts: list[bytes] = []  # of the line that is being received
        # -P: what lies in the directory of a host's project must not be imported.
        command = [sys.executable, "-P", "-m", "algocline_mcp", "mcp-server"]
        with theirs:
            fd = theirs.fileno()
            actions = [(os.POSIX_SPAWN_DUP2, fd, 0), (os.POSIX_SPAWN_DUP2, fd, 1)]
            try:
                self._pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
            except OSError:
                self._connection.close()
                raise

    @property
    def fd(self) -> int:
        return self._connection.fileno()

    def send(self, lines: deque[bytes]) -> bool:
        """Sends as much as the socket takes, and removes it from `lines`. Returns whether something is left."""
        try:
            while self._rest or lines:
                self._rest = self._rest or lines.popleft()
                self._rest = self._rest[self._connection.send(self._rest) :]
        except BlockingIOError:
            return True
        except OSError:  # it has ended: `receive` will say so
            lines.clear()
            self._rest = b""
        return False

    def receive(self) -> list[bytes] | None:
        """The lines that have become whole, each with its line feed. None: the process has closed its end."""
        try:
            chunk = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not chunk:
            return None
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._parts.append(chunk)
            return []
        whole, self._parts = b"".join([*self._parts, chunk[:end]]), [chunk[end:]] if chunk[end:] else []
        return [line + b"\n" for line in whole.split(b"\n")[:-1]]

    def close_input(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:  # it has ended already
            return

    def end(self) -> str:
        """Kills the process if it still runs, and reaps it. Returns how it ended."""
        from threading import Thread

        self._connection.close()
        os.kill(self._pid, signal.SIGKILL)
        status: list[int] = []
        reaper = Thread(target=lambda: status.append(os.waitpid(self._pid, 0)[1]), daemon=True)
        reaper.start()
        reaper.join(_REAP_S)
        if not status:
            return "it hangs in the kernel"
        code = os.waitstatus_to_exitcode(status[0])
        return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
