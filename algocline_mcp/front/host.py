"""The host's ends of the front: its lines as they come, and a writer that never waits for it.

Contract. Lines are bytes without their line feed. A descriptor may share its file description with a shell, so it is
never made non-blocking: `poll` says when a read or a write does not block.
"""

import codecs
import os
import select
import socket
import stat
from collections import deque
from collections.abc import Iterator

from algocline_mcp.transport.lines import EDGE_BYTES

# A call may have 1 MiB of code with 2 MiB of ctx, or 4 MiB of answers; a JSON escape makes up to six bytes of one.
LINE_MAX_BYTES = 32 * 1024 * 1024
READ_BYTES = 64 * 1024  # a buffer of 128 KiB or more is mapped and unmapped for each read: 20 µs
# Of a descriptor that is neither a socket nor a pipe (a file, a terminal): one write.
_WRITE_BYTES = 64 * 1024


class HostInput:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._line = bytearray()
        self._dropped = 0  # bytes that were dropped between the two ends of an over-long line

    def read(self) -> Iterator[tuple[bytes, bool]] | None:
        """The lines that one read completes, each with whether its middle is missing; None at the end of the input.

        The last line needs no line feed: it comes before the None. Blank lines are left out.
        """
        try:
            chunk = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return iter(())
        except OSError:  # the terminal hung up, or the descriptor was never open
            chunk = b""
        if not chunk:
            return iter(self._finished()) if self._line else None
        return self._split(chunk)

    def _split(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            self._extend(part)
            yield from self._finished()
        self._extend(rest)

    def _extend(self, part: bytes) -> None:
        self._line += part
        if len(self._line) + self._dropped > LINE_MAX_BYTES:
            too_many = len(self._line) - 2 * EDGE_BYTES
            if too_many > 0:
                del self._line[EDGE_BYTES : EDGE_BYTES + too_many]
                self._dropped += too_many

    def _finished(self) -> list[tuple[bytes, bool]]:
        line, self._line = bytes(self._line).removeprefix(codecs.BOM_UTF8), bytearray()
        dropped, self._dropped = self._dropped, 0
        return [] if not line or line.isspace() else [(line, dropped > 0)]


class HostOutput:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        mode = os.fstat(fd).st_mode
        # A socket takes a flag per call; a pipe that polls as writable takes PIPE_BUF bytes without blocking.
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        self._write_bytes = select.PIPE_BUF if stat.S_ISFIFO(mode) else _WRITE_BYTES
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._rest = memoryview(b"")

    @property
    def is_behind(self) -> bool:
        """A line is begun and not finished."""
        return bool(self._rest)

    def close(self) -> None:
        """For tests: the end of the process closes everything."""
        if self._socket is not None:
            self._socket.close()
        os.close(self.fd)

    def write(self, lines: deque[bytes]) -> None:
        """Writes as much as does not block, and removes it from `lines`. Raises OSError where the host is gone."""
        try:
            while self._rest or lines:
                if not self._rest:
                    self._rest = memoryview(lines.popleft())
                if self._socket is not None:
                    written = self._socket.send(self._rest, socket.MSG_DONTWAIT)
                elif self._poll.poll(0):
                    written = os.write(self.fd, self._rest[: self._write_bytes])
                else:
                    return
                self._rest = self._rest[written:]
        except BlockingIOError:  # also where another owner of the file description made it non-blocking
            return
